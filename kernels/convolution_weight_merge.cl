// Adds the partial sums of a weight gradient for GPU devices (convolution_tiles_weights.cl, and of a depthwise convolution, whose
// channels read one output's filters), as convolution_weight_combine does: 32 of them at a time by a work-group, whose lines of
// 32 work-items take every LINES-th group each. The order of a sum is fixed.
// scratch [ITEMS]; an argument, because of an array in the kernel PoCL 3.1 leaves some uses to all threads at once.
#ifndef ITEMS
#define ITEMS 256  // a power of two from 32 on
#endif
#define LINES (ITEMS / 32)
#if defined(__x86_64__) || defined(__aarch64__)
#define UNROLL_GROUPS // its compiler warns that it cannot
#else
#define UNROLL_GROUPS _Pragma("unroll 8") // loads in flight
#endif

// gradient[output][channel][tap] = sum over partial[group][output][tap][channel]. Work-groups: [outputs * taps * channels / 32].
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void convolution_weight_merge(
    const int groups, const int channels, const int outputs, const int taps,
    global const float *restrict partial, const ulong partial_offset, global float *restrict gradient,
    const ulong gradient_offset, local float *scratch)
{
    const int item = (int)get_local_id(0);
    const ulong count = (ulong)outputs * taps * channels, at = get_group_id(0) * 32 + item % 32;
    global const float *restrict in = partial + partial_offset + at;
    float sum = 0.0f;
    UNROLL_GROUPS for (int g = 0; g < groups; g += LINES)
        sum += g + item / 32 < groups && at < count ? in[(ulong)(g + item / 32) * count] : 0.0f;
    scratch[item] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < 32 && at < count) {
        for (int line = 1; line < LINES; ++line) sum += scratch[line * 32 + item];
        const ulong o = at / (ulong)(taps * channels);
        const int d = (int)(at % (ulong)(taps * channels));
        gradient[gradient_offset + (o * channels + d % channels) * taps + d / channels] = sum;
    }
}
