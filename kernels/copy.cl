// Copies floats: the yardstick for memory bandwidth (bytes moved = 8 * count).

#ifndef COPY_WIDTH
#define COPY_WIDTH 4  // floats per work-item: 4 suits GPUs, 16 suits CPUs
#endif

#ifdef __clang__
#pragma clang diagnostic ignored "-Wpsabi" // no vector crosses a call
#endif
#define COPY_JOIN(a, b) a##b
#define COPY_NAME(a, b) COPY_JOIN(a, b)
#define COPY_LOAD COPY_NAME(vload, COPY_WIDTH)
#define COPY_STORE COPY_NAME(vstore, COPY_WIDTH)

// target[targetOffset + i] = source[sourceOffset + i] for i in 0..<count.
// Global size: count / COPY_WIDTH, rounded up, or more.
__kernel void copy_elements(
    const ulong count,
    __global const float *restrict source, const ulong sourceOffset,
    __global float *restrict target, const ulong targetOffset)
{
    const ulong first = (ulong)get_global_id(0) * COPY_WIDTH;
    __global const float *from = source + sourceOffset;
    __global float *to = target + targetOffset;
    if (first + COPY_WIDTH <= count) {
        COPY_STORE(COPY_LOAD(0, from + first), 0, to + first);
    } else {
        for (ulong i = first; i < count; i++)
            to[i] = from[i];
    }
}
