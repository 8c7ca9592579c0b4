// Copies floats: the yardstick for memory bandwidth (bytes moved = 8 * count).
#ifndef VECTOR
#define VECTOR 4  // floats per work-item: 4 suits GPUs, 16 suits CPUs
#endif
#include "common/vector.clh"

// target[targetOffset + i] = source[sourceOffset + i] for i in 0..<count.
// Global size: count / VECTOR, rounded up, or more.
__kernel void copy_elements(
    const ulong count,
    __global const float *restrict source, const ulong sourceOffset,
    __global float *restrict target, const ulong targetOffset)
{
    const ulong first = (ulong)get_global_id(0) * VECTOR;
    __global const float *from = source + sourceOffset;
    __global float *to = target + targetOffset;
    if (first + VECTOR <= count) {
#if VECTOR > 1
        // One access where the addresses allow it: of one at any address some compilers make VECTOR.
        if ((((ulong)from | (ulong)to) & (4 * VECTOR - 1)) == 0)
            *(__global real_v *)(to + first) = *(__global const real_v *)(from + first);
        else
#endif
            store_v(load_v(from + first), to + first);
    } else {
        for (ulong i = first; i < count; i++)
            to[i] = from[i];
    }
}
