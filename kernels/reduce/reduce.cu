// One number for many: y = the combination of all x along some axes. COMBINE is a formula of two numbers, a and b, such as a + b (cuda.py has the table).
//
// Bound by memory: each element is read once, 4 bytes, and next to nothing is written. A team of threads works out a result (block.h). Where results are few and long
// each is cut into parts of 64 elements a thread, another block's each, and the parts' answers are combined by the same kernel: the order of additions depends on the
// shape alone, and a float is never added to more than 64 others in a row.
#include "device.h"

#include "block.h"

// kept: where a result's elements begin, after where the result itself lies. reduced: how the elements lie from there.
extern "C" __global__ void __launch_bounds__(BLOCK)
reduce(const X* x, const Layout kept, const Layout reduced, Y start, Y* y, index_t results, index_t length, index_t part, int size, bool side_by_side) {
    __shared__ Y shared[BLOCK];
    Team team(size, side_by_side);
    index_t result = team.result<index_t>();
    index_t first = blockIdx.y * part, last = min(length, first + part);
    auto combine = [](Y a, Y b) { return static_cast<Y>(COMBINE); };
    Y mine = start;
    if (result < results) {
        index_t begins[2], place[1];
        places(kept, result, begins);
        for (index_t i = first + team.member; i < last; i += team.size) {
            places(reduced, i, place);
            mine = combine(mine, static_cast<Y>(x[begins[1] + place[0]]));
        }
    }
    mine = team.together(mine, shared, combine);
    if (team.member == 0 && result < results) y[blockIdx.y * results + result] = mine;
}
