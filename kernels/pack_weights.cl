// Packed copies of convolution weights for the direct kernels, all layers in one launch after the optimiser.
// From OIHW to [blocks][taps][inner][BLOCK]: for the forward pass blocks run over output channels and inner over input
// channels, for the input gradient the other way round. Lanes beyond the last channel are 0.
#ifndef BLOCK
#define BLOCK 16  // channels per block: the lanes of one accumulator in convolution_direct.cl
#endif
#define FIELDS 6  // per table entry: source, target (elements), outputs, inputs, taps, transposed

// Global size: [any, entries]; the first dimension strides over the elements of an entry.
kernel void pack_weights(global const long *restrict table, global const float *restrict parameters, global float *restrict packed)
{
    global const long *restrict entry = table + get_global_id(1) * FIELDS;
    const ulong source = (ulong)entry[0], target = (ulong)entry[1];
    const ulong outputs = (ulong)entry[2], inputs = (ulong)entry[3], taps = (ulong)entry[4];
    const int transposed = (int)entry[5];
    const ulong outer = transposed ? inputs : outputs, inner = transposed ? outputs : inputs;
    const ulong count = (outer + BLOCK - 1) / BLOCK * taps * inner * BLOCK;
    for (ulong e = get_global_id(0); e < count; e += get_global_size(0)) {
        const ulong lane = e % BLOCK, i = e / BLOCK % inner, t = e / BLOCK / inner % taps;
        const ulong o = e / BLOCK / inner / taps * BLOCK + lane;
        float v = 0.0f;
        if (o < outer) v = parameters[source + ((transposed ? i * inputs + o : o * inputs + i) * taps + t)];
        packed[target + e] = v;
    }
}
