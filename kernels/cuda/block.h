// Threads of a block that work out a result together: a sum over many elements, the largest of them.
//
// A block of BLOCK threads is cut into teams of `size` threads (a power of 2), one result to a team. Every member goes through its share of the elements, and then
// the members' answers are combined in a tree, always in the same order, so that the result has the same bits each time. The members of a team are neighbours where
// the elements of a result lie side by side in memory; where it is the results that lie side by side, neighbouring threads belong to different teams. Either way a
// warp reads neighbouring elements. block.py says how large a team is.
#pragma once

constexpr int BLOCK = 256;

class Team {
  public:
    int size, member, number;  // number: of the team within the block
    int step;                  // from a member to the next, in threads

    __device__ __forceinline__ Team(int size, bool side_by_side) : size(size) {
        int thread = threadIdx.x, teams = BLOCK / size;
        member = side_by_side ? thread % size : thread / teams;
        number = side_by_side ? thread / size : thread % teams;
        step = side_by_side ? 1 : teams;
    }

    // Which result of all: teams are numbered through the grid.
    template <class index> __device__ __forceinline__ index result() const { return static_cast<index>(blockIdx.x) * (BLOCK / size) + number; }

    // The answers of all members in one, for every member. All threads of the block must call it; `shared` has BLOCK elements.
    template <class T, class Combine> __device__ __forceinline__ T together(T mine, T* shared, Combine combine) const {
        int thread = threadIdx.x;
        __syncthreads();  // another team's thread may still read what is there from the last time
        shared[thread] = mine;
        for (int half = size / 2; half > 0; half /= 2) {
            __syncthreads();
            if (member < half) shared[thread] = combine(shared[thread], shared[thread + half * step]);
        }
        __syncthreads();
        return shared[thread - member * step];
    }
    template <class T> __device__ __forceinline__ T sum(T mine, T* shared) const {
        return together(mine, shared, [](T a, T b) { return a + b; });
    }
};
