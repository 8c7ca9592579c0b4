// The sums over rows of batch_norm.cl for GPU devices (the gpu profile): the same partial results and formulas, but each chunk is a
// work-group's, WIDTH channels by LINES rows at a time, and each channel's chunks are merged by a work-group.
#include "common/group_sums.clh"
#include "common/vector.clh"
#define HERE(p) (*(p))
#include "common/batch_norm.clh"

// As batch_norm_statistics_partial. Work-groups: [channels / WIDTH, chunks].
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void batch_norm_statistics_chunk(
    const ulong rows, const int channels, const int rows_per_chunk,
    global const float *restrict x, const ulong x_offset,
    global float *restrict partial, const ulong partial_offset, local float *scratch)
{
    ITEM_OF_CHUNK(channels)
    const ulong chunks = get_num_groups(1);
    global const float *restrict p = x + x_offset + first * channels + c;

    float sum = 0.0f;
    UNROLL_ROWS for (int r = 0; r < count; r += LINES)
        sum += r + item / WIDTH < mine ? p[(ulong)(r + item / WIDTH) * channels] : 0.0f;
    const float mean = line_sum(sum, scratch) / (float)count;
    float squares = 0.0f;
    UNROLL_ROWS for (int r = 0; r < count; r += LINES) {
        const float d = r + item / WIDTH < mine ? p[(ulong)(r + item / WIDTH) * channels] - mean : 0.0f;
        squares = fma(d, d, squares);
    }
    squares = line_sum(squares, scratch);
    if (item < WIDTH && c < channels) {
        global float *restrict out = partial + partial_offset;
        out[chunk * channels + c] = mean;
        out[(chunks + chunk) * channels + c] = squares;
    }
}

// Number, mean and sum of squared deviations of two sets together.
static inline float4 merged(const float4 a, const float4 b)
{
    const float total = a.x + b.x, share = total > 0.0f ? b.x / total : 0.0f, delta = b.y - a.y;
    return (float4)(total, fma(delta, share, a.y), a.z + b.z + delta * delta * (a.x * share), 0.0f);
}

// As batch_norm_statistics_combine. Work-groups: [channels]; scratch: MERGERS float4.
kernel __attribute__((reqd_work_group_size(MERGERS, 1, 1))) void batch_norm_statistics_merge(
    const ulong rows, const int channels, const int rows_per_chunk, const int chunks,
    global const float *restrict partial, const ulong partial_offset,
    global float *restrict statistics, const ulong statistics_offset,
    global float *restrict running, const ulong running_mean_offset, const ulong running_variance_offset,
    const float epsilon, const float momentum, local float4 *scratch)
{
    const int item = (int)get_local_id(0), c = (int)get_group_id(0);
    global const float *restrict in = partial + partial_offset + c;
    float4 found = (float4)(0.0f);
    for (int k = 0; k < chunks; k += MERGERS) {
        const int chunk = k + item;
        if (chunk < chunks) {
            const ulong first = (ulong)chunk * (ulong)rows_per_chunk;
            const float n = (float)(min(first + (ulong)rows_per_chunk, rows) - first);
            found = merged(
                found, (float4)(n, in[(ulong)chunk * channels], in[((ulong)chunks + chunk) * channels], 0.0f));
        }
    }
    scratch[item] = found;
    MERGE_ALL(merged)
    if (item == 0) {
        FINISH_STATISTICS(scratch[0].x, scratch[0].y, scratch[0].z)
    }
}

// As batch_norm_gradient_partial. Work-groups: [channels / WIDTH, chunks].
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void batch_norm_gradient_chunk(
    const ulong rows, const int channels, const int rows_per_chunk,
    global const float *restrict x, const ulong x_offset,
    global const float *restrict y, const ulong y_offset,
    global const float *restrict dy, const ulong dy_offset,
    global const float *restrict statistics, const ulong statistics_offset,
    global const float *restrict parameters, const ulong gamma_offset, const ulong beta_offset,
    global float *restrict partial, const ulong partial_offset, const int rectified, local float *scratch)
{
    ITEM_OF_CHUNK(channels)
    const ulong chunks = get_num_groups(1);
    const int channel = min(c, channels - 1);
    const float mean = statistics[statistics_offset + channel];
    const float inverse = statistics[statistics_offset + channels + channel];
    const float scale = inverse * parameters[gamma_offset + channel], beta = parameters[beta_offset + channel];
    float sum = 0.0f, product = 0.0f;
    UNROLL_ROWS for (int r = 0; r < count; r += LINES) {
        if (r + item / WIDTH < mine) {
            const ulong i = (first + r + item / WIDTH) * channels + c;
            const float g = MASKED(dy[dy_offset + i], i);
            sum += g;
            product = fma(g, (x[x_offset + i] - mean) * inverse, product);
        }
    }
    sum = line_sum(sum, scratch);
    product = line_sum(product, scratch);
    if (item < WIDTH && c < channels) {
        global float *restrict out = partial + partial_offset;
        out[chunk * channels + c] = sum;
        out[(chunks + chunk) * channels + c] = product;
    }
}

// As batch_norm_gradient_combine. Work-groups: [channels]; scratch: MERGERS float4.
kernel __attribute__((reqd_work_group_size(MERGERS, 1, 1))) void batch_norm_gradient_merge(
    const int channels, const int chunks,
    global const float *restrict partial, const ulong partial_offset,
    global float *restrict gradients, const ulong gamma_offset, const ulong beta_offset, local float4 *scratch)
{
    const int item = (int)get_local_id(0), c = (int)get_group_id(0);
    global const float *restrict in = partial + partial_offset + c;
    float sum = 0.0f, product = 0.0f;
    for (int k = 0; k < chunks; k += MERGERS) {
        if (k + item < chunks) {
            sum += in[(ulong)(k + item) * channels];
            product += in[((ulong)chunks + k + item) * channels];
        }
    }
    scratch[item] = (float4)(sum, product, 0.0f, 0.0f);
    MERGE_ALL(ADDED)
    if (item == 0) {
        gradients[gamma_offset + c] = scratch[0].y;
        gradients[beta_offset + c] = scratch[0].x;
    }
}
