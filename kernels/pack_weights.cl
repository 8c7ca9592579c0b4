// Packed copies of convolution weights, all layers in one launch after the optimiser. `outer` are the
// channels that a convolution computes, `inner` those that it sums over: forward the output and the input channels, for the
// input gradient (transposed) the other way round. Lanes beyond the last outer channel are 0.
//   kind 0, 1 (transposed): [blocks of outer][taps][inner][block], with TF32 rounded to operands of its products
//   kind 2, 3 (transposed, taps turned): Winograd's G w G^T for F(4x4, 3x3), [36][blocks of outer][inner][block]; outer is a
//   multiple of 16
//   kind 4: the same for F(2x2, 3x3), [16][blocks of outer][inner][block]
//   kind 5, 6 (transposed): of a convolution in groups, as many as `block` says: [inner within the group][taps][outer], then zeros
#ifndef LANES
#define LANES 16  // outer channels at a time; divides every block
#endif
#define VECTOR LANES
#include "common/inline.clh"
#include "common/tf32.clh"
#include "common/vector.clh"
#define splat_v(x) ((real_v)(x))
#include "common/prefetch.clh"
#include "common/winograd.clh"

#if TF32
#define OPERAND(w) round_tf32(w)
#else
#define OPERAND(w) (w)
#endif
#define FIELDS 8  // per table entry: source, target (elements), outputs, inputs, taps, kind, block, elements written

// An item's share of `count`: `run` neighbours at a time.
#define EACH_SHARE(e, count) \
    for (int e = (int)get_global_id(0) * run; e < (count); e += e % run == run - 1 ? ((int)get_global_size(0) - 1) * run + 1 : 1)

// weight is OIHW: [outputs][inputs / groups][taps].
ALWAYS_INLINE void pack_groups(
    const int run, const int outputs, const int inputs, const int taps, const int transposed, const int groups,
    const int written, global const float *weight, global float *packed)
{
    const int outer = transposed ? inputs : outputs, outer_per_group = outer / groups;
    const int inputs_per_group = inputs / groups, outputs_per_group = outputs / groups;
    const int count = inputs_per_group * outputs * taps;
    EACH_SHARE(e, written) {
        const int o = e % outer, row = e / outer, i = row / taps;
        const int first = o / outer_per_group * outputs_per_group;  // output channel of the group
        const int output = transposed ? first + i : o, input = transposed ? o % outer_per_group : i;
        packed[e] = e < count ? weight[((ulong)output * inputs_per_group + input) * taps + row % taps] : 0.0f;
    }
}

// Global size: [any, entries from first_entry on]; the first dimension strides over an entry, `run` neighbours at a time.
kernel void pack_weights(
    const int first_entry, const int run, global const long *restrict table, global const float *restrict parameters,
    global float *restrict packed)
{
    global const long *restrict entry = table + (first_entry + get_global_id(1)) * FIELDS;
    const int outputs = (int)entry[2], inputs = (int)entry[3], taps = (int)entry[4], kind = (int)entry[5], block = (int)entry[6];
    const int transposed = kind == 1 || kind == 3 || kind == 6;
    const int outer = transposed ? inputs : outputs, inner = transposed ? outputs : inputs;
    const ulong outer_step = (ulong)taps * (transposed ? 1 : inputs), inner_step = (ulong)taps * (transposed ? inputs : 1);
    const int padded = (outer + block - 1) / block * block;
    global const float *restrict from = parameters + entry[0];
    global float *restrict to = packed + entry[1];
    if (kind >= 5) {
        pack_groups(run, outputs, inputs, taps, transposed, block, (int)entry[7], from, to);
        return;
    }
    EACH_SHARE(e, padded / LANES * inner) {
#if LANES == 1  // a GPU: neighbouring items write neighbours
        const int i = e / padded, o = e % padded;
#else
        const int i = e % inner, o = e / inner * LANES;
#endif
        global const float *restrict weight = from + o * outer_step + i * inner_step;
        if (kind < 2) {
            global float *restrict out = to + ((ulong)(o / block) * taps * inner + i) * block + o % block;
            for (int t = 0; t < taps; ++t)
                for (int l = 0; l < LANES; ++l)
                    out[(ulong)t * inner * block + l] = o + l < outer ? OPERAND(weight[l * outer_step + t]) : 0.0f;
        } else {
            float lanes[9 * LANES];
            for (int l = 0; l < LANES; ++l)
                for (int t = 0; t < 9; ++t) lanes[(kind == 3 ? 8 - t : t) * LANES + l] = weight[l * outer_step + t];
            global float *restrict out = to + ((ulong)(o / block) * inner + i) * block + o % block;
            const ulong stride = (ulong)outer * inner;
            // What is written lies in so many places that a processor does not see what comes next.
            for (int f = 0; f < (kind == 4 ? 16 : 36); ++f) PREFETCH_LEVEL2(out + f * stride + 4 * block)
            if (kind == 4) {
                real_v r[12];
                _Pragma("unroll") for (int j = 0; j < 3; ++j) {
                    const real_v w0 = load_v(lanes + j * LANES), w1 = load_v(lanes + (3 + j) * LANES);
                    const real_v w2 = load_v(lanes + (6 + j) * LANES);
                    WINOGRAD2_WEIGHT(w0, w1, w2, r[j], r[3 + j], r[6 + j], r[9 + j])
                }
                _Pragma("unroll") for (int f = 0; f < 4; ++f) {
                    real_v o0, o1, o2, o3;
                    WINOGRAD2_WEIGHT(r[f * 3], r[f * 3 + 1], r[f * 3 + 2], o0, o1, o2, o3)
                    store_v(o0, out + (f * 4) * stride);
                    store_v(o1, out + (f * 4 + 1) * stride);
                    store_v(o2, out + (f * 4 + 2) * stride);
                    store_v(o3, out + (f * 4 + 3) * stride);
                }
                continue;
            }
            real_v r[18];
            _Pragma("unroll") for (int j = 0; j < 3; ++j) {
                const real_v w0 = load_v(lanes + j * LANES), w1 = load_v(lanes + (3 + j) * LANES);
                const real_v w2 = load_v(lanes + (6 + j) * LANES);
                WINOGRAD_WEIGHT(w0, w1, w2, r[j], r[3 + j], r[6 + j], r[9 + j], r[12 + j], r[15 + j])
            }
            _Pragma("unroll") for (int f = 0; f < 6; ++f) {
                real_v o0, o1, o2, o3, o4, o5;
                WINOGRAD_WEIGHT(r[f * 3], r[f * 3 + 1], r[f * 3 + 2], o0, o1, o2, o3, o4, o5)
                store_v(o0, out + (f * 6) * stride);
                store_v(o1, out + (f * 6 + 1) * stride);
                store_v(o2, out + (f * 6 + 2) * stride);
                store_v(o3, out + (f * 6 + 3) * stride);
                store_v(o4, out + (f * 6 + 4) * stride);
                store_v(o5, out + (f * 6 + 5) * stride);
            }
        }
    }
}
