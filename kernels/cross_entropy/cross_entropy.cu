// Cross entropy from log-probabilities, and its gradient (see reference.py: the loss is -sum of q[c] * log_probs[c], with q the target distribution).
//
// Bound by memory, and little of it: without smoothing the loss reads one class of each place, 4 bytes; the gradient reads and writes all of them, 8 bytes a class. A
// team of threads (block.h) takes a place, its members share out the classes, which lie `after` apart. A target that is no class makes the loss NaN: a kernel cannot
// raise, and to look at the targets first the host would have to wait.
#include "device.h"

#include "block.h"

__device__ __forceinline__ real weight_of(const real* weight, index_t c) { return weight ? weight[c] : real(1); }

extern "C" __global__ void __launch_bounds__(BLOCK)
losses(const real* log_probs, const int64* target, const real* weight, int64 ignore_index, real sharp, real uniform, real* loss, index_t places, index_t classes,
       index_t after, int size) {
    __shared__ real shared[BLOCK];
    Team team(size, after == 1);
    index_t place = team.result<index_t>();
    bool exists = place < places;
    int64 t = exists ? target[place] : ignore_index;
    bool counts = t != ignore_index, wrong = counts && (t < 0 || t >= classes);
    index_t begins = place / after * classes * after + place % after;
    real mine = 0;
    if (counts && !wrong && uniform != 0)
        for (index_t c = team.member; c < classes; c += team.size) {
            real q = uniform * weight_of(weight, c);
            if (q != 0) mine -= q * log_probs[begins + c * after];  // where q is 0 even an infinite log-probability adds nothing
        }
    mine = team.sum(mine, shared);
    if (!exists || team.member != 0) return;
    if (counts && !wrong) {
        real q = sharp * weight_of(weight, t);
        if (q != 0) mine -= q * log_probs[begins + t * after];
    }
    loss[place] = wrong ? real(NAN) : mine;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
gradient(const real* dloss, const real* log_probs, const int64* target, const real* weight, int64 ignore_index, real sharp, real uniform, real* dlogits,
         index_t places, index_t classes, index_t after, int size) {
    __shared__ real shared[BLOCK];
    Team team(size, after == 1);
    index_t place = team.result<index_t>();
    bool exists = place < places;
    int64 t = exists ? target[place] : ignore_index;
    bool counts = t != ignore_index, wrong = counts && (t < 0 || t >= classes);
    real mine = 0;
    if (counts && uniform != 0)
        for (index_t c = team.member; c < classes; c += team.size) mine += uniform * weight_of(weight, c);
    real total = team.sum(mine, shared);
    if (!exists) return;
    if (counts) total = wrong ? real(NAN) : total + sharp * weight_of(weight, t);
    index_t begins = place / after * classes * after + place % after;
    for (index_t c = team.member; c < classes; c += team.size) {
        index_t at = begins + c * after;
        real q = counts ? uniform * weight_of(weight, c) + (c == t ? sharp * weight_of(weight, c) : real(0)) : real(0);
        dlogits[at] = dloss[place] * (exp(log_probs[at]) * total - q);
    }
}
