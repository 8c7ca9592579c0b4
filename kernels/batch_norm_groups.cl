// The sums over rows of batch_norm.cl for GPU devices (the gpu profile): the same partial results, but each chunk is a work-group's,
// WIDTH channels by LINES rows at a time, and each channel's chunks are merged by a work-group.
#include "common/group_sums.clh"
#define HERE(p) load_lanes(p, VECTOR)
#include "common/batch_norm.clh"

// As batch_norm_statistics_partial. An item takes mean and squared deviations of BATCH rows at a time and brings them together with
// those before (Chan, Golub, LeVeque 1979), so that nothing cancels and every row is read once.
// Work-groups: [channels / WIDTH, chunks]; scratch: [ITEMS].
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void batch_norm_statistics_chunk(
    const ulong rows, const int channels, const int rows_per_chunk,
    global const float *restrict x, const ulong x_offset,
    global float *restrict partial, const ulong partial_offset, local real_v *scratch)
{
    ITEM_OF_CHUNK(channels)
    const ulong chunks = get_num_groups(1);
    global const float *restrict p = x + x_offset + (first + line) * channels + c;

    real_v mean = (real_v)(0.0f), squares = (real_v)(0.0f);
    float seen = 0.0f;
    for (int r = line; r < mine; r += BATCH * LINES) {
        real_v v[BATCH], sum = (real_v)(0.0f), apart = (real_v)(0.0f);
        EACH_OF_BATCH for (int q = 0; q < BATCH; ++q)
            v[q] = r + q * LINES < mine ? HERE(p + (ulong)(q * LINES) * channels) : (real_v)(0.0f);
        EACH_OF_BATCH for (int q = 0; q < BATCH; ++q) sum += v[q];
        const float here = (float)min(BATCH, (mine - r + LINES - 1) / LINES), share = here / (seen + here);
        sum /= here;
        EACH_OF_BATCH for (int q = 0; q < BATCH; ++q) {
            const real_v d = r + q * LINES < mine ? v[q] - sum : (real_v)(0.0f);
            apart = fma(d, d, apart);
        }
        const real_v delta = sum - mean;
        mean = fma(delta, (real_v)(share), mean);
        squares += fma(delta * delta, (real_v)(seen * share), apart);
        seen += here;
        p += (ulong)(BATCH * LINES) * channels;
    }
    const real_v whole = line_sum(mean * seen, scratch, COLUMNS, LINES) / (float)count;
    const real_v off = mean - whole;
    squares = line_sum(fma(off * off, (real_v)(seen), squares), scratch, COLUMNS, LINES);
    if (line == 0 && c < channels) {
        global float *restrict out = partial + partial_offset;
        store_lanes(whole, out + chunk * channels + c, VECTOR, 1);
        store_lanes(squares, out + (chunks + chunk) * channels + c, VECTOR, 1);
    }
}

// As batch_norm_statistics_combine: the chunks' means first, then their squared deviations from the mean of all.
// Work-groups: [channels]; scratch: [MERGERS].
kernel __attribute__((reqd_work_group_size(MERGERS, 1, 1))) void batch_norm_statistics_merge(
    const ulong rows, const int channels, const int rows_per_chunk, const int chunks,
    global const float *restrict partial, const ulong partial_offset,
    global float *restrict statistics, const ulong statistics_offset,
    global float *restrict running, const ulong running_mean_offset, const ulong running_variance_offset,
    const float epsilon, const float momentum, local float *scratch)
{
    const int item = (int)get_local_id(0), c = (int)get_group_id(0);
    global const float *restrict in = partial + partial_offset + c;
    const float last = (float)(rows - (ulong)(chunks - 1) * (ulong)rows_per_chunk);
#define ROWS_OF(chunk) ((chunk) < chunks - 1 ? (float)rows_per_chunk : last)
    float sum = 0.0f, squares = 0.0f;
    UNROLL_CHUNKS for (int k = item; k < chunks; k += MERGERS) sum = fma(ROWS_OF(k), in[(ulong)k * channels], sum);
    const float mean = merged_sum(sum, scratch, 1, MERGERS) / (float)rows;
    UNROLL_CHUNKS for (int k = item; k < chunks; k += MERGERS) {
        const float delta = in[(ulong)k * channels] - mean;
        squares += fma(delta * delta, ROWS_OF(k), in[((ulong)chunks + k) * channels]);
    }
    squares = merged_sum(squares, scratch, 1, MERGERS);
    if (item == 0) {
        FINISH_STATISTICS((float)rows, mean, squares)
    }
}

// As batch_norm_gradient_partial. Work-groups: [channels / WIDTH, chunks]; scratch: [ITEMS].
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void batch_norm_gradient_chunk(
    const ulong rows, const int channels, const int rows_per_chunk,
    global const float *restrict x, const ulong x_offset,
    global const float *restrict y, const ulong y_offset,
    global const float *restrict dy, const ulong dy_offset,
    global const float *restrict statistics, const ulong statistics_offset,
    global const float *restrict parameters, const ulong gamma_offset, const ulong beta_offset,
    global float *restrict partial, const ulong partial_offset, const int rectified, local real_v *scratch)
{
    ITEM_OF_CHUNK(channels)
    const ulong chunks = get_num_groups(1);
    const int channel = min(c, channels - VECTOR);
    const real_v mean = HERE(statistics + statistics_offset + channel);
    const real_v inverse = HERE(statistics + statistics_offset + channels + channel);
    const real_v scale = inverse * HERE(parameters + gamma_offset + channel);
    const real_v beta = HERE(parameters + beta_offset + channel);
    real_v sum = (real_v)(0.0f), product = (real_v)(0.0f);
    for (int r = line; r < mine; r += BATCH * LINES) {
        const ulong i = (first + r) * channels + c;
        real_v v[BATCH], g[BATCH], sign[BATCH];
        // Past the last row the first one again, without a gradient: no branch keeps a load waiting.
#define PLACE(q) (i + (r + (q) * LINES < mine ? (ulong)((q) * LINES) * channels : 0))
        EACH_OF_BATCH for (int q = 0; q < BATCH; ++q) {
            v[q] = HERE(x + x_offset + PLACE(q));
            g[q] = HERE(dy + dy_offset + PLACE(q));
        }
        if (rectified == 2) {
            EACH_OF_BATCH for (int q = 0; q < BATCH; ++q) sign[q] = HERE(y + y_offset + PLACE(q));
        } else {
            EACH_OF_BATCH for (int q = 0; q < BATCH; ++q) sign[q] = RECTIFIED(v[q]);
        }
        EACH_OF_BATCH for (int q = 0; q < BATCH; ++q) {
            const real_v masked = rectified ? relu_gradient_v(g[q], sign[q]) : g[q];
            const real_v here = r + q * LINES < mine ? masked : (real_v)(0.0f);
            sum += here;
            product = fma(here, (v[q] - mean) * inverse, product);
        }
    }
    sum = line_sum(sum, scratch, COLUMNS, LINES);
    product = line_sum(product, scratch, COLUMNS, LINES);
    if (line == 0 && c < channels) {
        global float *restrict out = partial + partial_offset;
        store_lanes(sum, out + chunk * channels + c, VECTOR, 1);
        store_lanes(product, out + (chunks + chunk) * channels + c, VECTOR, 1);
    }
}

// As batch_norm_gradient_combine. Work-groups: [channels]; scratch: [MERGERS].
kernel __attribute__((reqd_work_group_size(MERGERS, 1, 1))) void batch_norm_gradient_merge(
    const int channels, const int chunks,
    global const float *restrict partial, const ulong partial_offset,
    global float *restrict gradients, const ulong gamma_offset, const ulong beta_offset, local float *scratch)
{
    const int item = (int)get_local_id(0), c = (int)get_group_id(0);
    global const float *restrict in = partial + partial_offset + c;
    float sum = 0.0f, product = 0.0f;
    UNROLL_CHUNKS for (int k = item; k < chunks; k += MERGERS) {
        sum += in[(ulong)k * channels];
        product += in[((ulong)chunks + k) * channels];
    }
    sum = merged_sum(sum, scratch, 1, MERGERS);
    product = merged_sum(product, scratch, 1, MERGERS);
    if (item == 0) {
        gradients[gamma_offset + c] = product;
        gradients[beta_offset + c] = sum;
    }
}
