// The last launch of weight gradients that are summed over groups of output pixels (cpu profile): adds the groups in order and
// writes OIHW.

// d weight [outputs, channels, taps] from [outputs][taps][channels], the groups added in order.
// Global size: [channels, outputs].
kernel void convolution_weight_combine(
    const int groups, const int channels, const int outputs, const int taps, const int padded_depth,
    global const float *restrict partial, const ulong partial_offset, global float *restrict gradients,
    const ulong gradients_offset)
{
    const ulong c = get_global_id(0), o = get_global_id(1);
    global const float *restrict in = partial + partial_offset + o * padded_depth + c;
    global float *restrict out = gradients + gradients_offset + (o * channels + c) * taps;
    for (int t = 0; t < taps; ++t) {
        float sum = 0.0f;
        for (int g = 0; g < groups; ++g) sum += in[(ulong)g * outputs * padded_depth + (ulong)t * channels];
        out[t] = sum;
    }
}
