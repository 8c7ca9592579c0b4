// Batch normalisation over rows (batch x height x width) of channels-last values: torch.nn.BatchNorm2d.
//
// Statistics in two launches without atomics: each chunk of rows takes its own mean and sum of squared deviations (two
// passes over rows that are still in cache, so nothing cancels), then one work-item per channel merges the chunks in
// order (Chan, Golub, LeVeque 1979). Same input, same bits. The gpu profile has these sums in batch_norm_groups.cl.
#include "common/lanes.clh"
#include "common/prefetch.clh"

// Asks for the same channels some rows on: a processor does not see by itself that rows are read at a distance.
#define ASK(values) PREFETCH_LEVEL2(values + values##_offset + (r + 32) * channels + c)
#define HERE(p) load_lanes(p, lanes)
#include "common/batch_norm.clh"

// partial[0][chunk][channel]: mean of the chunk; partial[1][chunk][channel]: sum of squared deviations from it.
// Global size: [ceil(channels / VECTOR), chunks].
kernel void batch_norm_statistics_partial(
    const ulong rows, const int channels, const int rows_per_chunk,
    global const float *restrict x, const ulong x_offset,
    global float *restrict partial, const ulong partial_offset)
{
    ITEM_CHANNELS(channels)
    const ulong chunk = get_global_id(1);
    const ulong chunks = get_global_size(1);
    const ulong first = chunk * (ulong)rows_per_chunk;
    const ulong last = min(first + (ulong)rows_per_chunk, rows);
    global const float *restrict p = x + x_offset + c;

    real_v sum = (real_v)(0.0f);
    for (ulong r = first; r < last; ++r) {
        ASK(x)
        sum += HERE(p + r * channels);
    }
    const real_v mean = sum / (float)(last - first);
    real_v squares = (real_v)(0.0f);
    for (ulong r = first; r < last; ++r) {
        const real_v d = HERE(p + r * channels) - mean;
        squares = fma(d, d, squares);
    }
    global float *restrict out = partial + partial_offset;
    store_lanes(mean, out + chunk * channels + c, lanes, 1);
    store_lanes(squares, out + (chunks + chunk) * channels + c, lanes, 1);
}

// Merges the chunks: statistics[0][channel] = mean, statistics[1][channel] = 1 / sqrt(biased variance + epsilon), and the
// running statistics move towards the batch's (variance unbiased). Global size: [channels].
kernel void batch_norm_statistics_combine(
    const ulong rows, const int channels, const int rows_per_chunk, const int chunks,
    global const float *restrict partial, const ulong partial_offset,
    global float *restrict statistics, const ulong statistics_offset,
    global float *restrict running, const ulong running_mean_offset, const ulong running_variance_offset,
    const float epsilon, const float momentum)
{
    const int c = (int)get_global_id(0);
    global const float *restrict in = partial + partial_offset;
    float count = 0.0f, mean = 0.0f, squares = 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        const ulong first = (ulong)chunk * (ulong)rows_per_chunk;
        const float n = (float)(min(first + (ulong)rows_per_chunk, rows) - first);
        const float delta = in[(ulong)chunk * channels + c] - mean;
        const float total = count + n;
        squares += in[((ulong)chunks + chunk) * channels + c] + delta * delta * (count * n / total);
        mean += delta * (n / total);
        count = total;
    }
    FINISH_STATISTICS(count, mean, squares)
}

// Evaluation mode: the running statistics in the place of the batch's. Global size: [channels].
kernel void batch_norm_statistics_running(
    const int channels,
    global const float *restrict running, const ulong running_mean_offset, const ulong running_variance_offset,
    global float *restrict statistics, const ulong statistics_offset, const float epsilon)
{
    const int c = (int)get_global_id(0);
    statistics[statistics_offset + c] = running[running_mean_offset + c];
    statistics[statistics_offset + channels + c] = 1.0f / sqrt(running[running_variance_offset + c] + epsilon);
}

// y = (x - mean) * inverse * gamma + beta, then the residual is added and the rectifier applied where asked for.
// Global size: [ceil(channels / VECTOR), row groups of rows_per_item].
kernel void batch_norm_normalize(
    const ulong rows, const int channels, const int rows_per_item,
    global const x_t *restrict x, const ulong x_offset,
    global const float *restrict statistics, const ulong statistics_offset,
    global const float *restrict parameters, const ulong gamma_offset, const ulong beta_offset,
    global const residual_t *restrict residual, const ulong residual_offset,
    global y_t *restrict y, const ulong y_offset,
    const int add_residual, const int rectify)
{
    ITEM_CHANNELS(channels)
    const ulong first = get_global_id(1) * (ulong)rows_per_item;
    const ulong last = min(first + (ulong)rows_per_item, rows);
    const real_v mean = HERE(statistics + statistics_offset + c);
    const real_v scale =
        HERE(statistics + statistics_offset + channels + c) * HERE(parameters + gamma_offset + c);
    const real_v beta = HERE(parameters + beta_offset + c);
    for (ulong r = first; r < last; ++r) {
        const ulong i = r * channels + c;
        ASK(x)
        ASK(y)
        if (add_residual) ASK(residual)
        real_v v = fma(load_x_lanes(x + x_offset + i, lanes) - mean, scale, beta);
        if (add_residual) v += load_residual_lanes(residual + residual_offset + i, lanes);
        if (rectify) v = relu_v(v);
        store_y_lanes(v, y + y_offset + i, lanes, 1);
    }
}

// Sums of g and g * xhat per chunk, g = dy masked by the rectifier: partial[0], partial[1].
// Global size: [ceil(channels / VECTOR), chunks].
kernel void batch_norm_gradient_partial(
    const ulong rows, const int channels, const int rows_per_chunk,
    global const float *restrict x, const ulong x_offset,
    global const float *restrict y, const ulong y_offset,
    global const float *restrict dy, const ulong dy_offset,
    global const float *restrict statistics, const ulong statistics_offset,
    global const float *restrict parameters, const ulong gamma_offset, const ulong beta_offset,
    global float *restrict partial, const ulong partial_offset, const int rectified)
{
    ITEM_CHANNELS(channels)
    const ulong chunk = get_global_id(1);
    const ulong chunks = get_global_size(1);
    const ulong first = chunk * (ulong)rows_per_chunk;
    const ulong last = min(first + (ulong)rows_per_chunk, rows);
    const real_v mean = HERE(statistics + statistics_offset + c);
    const real_v inverse = HERE(statistics + statistics_offset + channels + c);
    const real_v scale = inverse * HERE(parameters + gamma_offset + c), beta = HERE(parameters + beta_offset + c);
    real_v sum = (real_v)(0.0f), product = (real_v)(0.0f);
    for (ulong r = first; r < last; ++r) {
        const ulong i = r * channels + c;
        ASK(x)
        ASK(dy)
        if (rectified == 2) ASK(y)
        const real_v g = MASKED(HERE(dy + dy_offset + i), i);
        sum += g;
        product = fma(g, (HERE(x + x_offset + i) - mean) * inverse, product);
    }
    global float *restrict out = partial + partial_offset;
    store_lanes(sum, out + chunk * channels + c, lanes, 1);
    store_lanes(product, out + (chunks + chunk) * channels + c, lanes, 1);
}

// d gamma and d beta, the chunks added in order. Global size: [channels].
kernel void batch_norm_gradient_combine(
    const int channels, const int chunks,
    global const float *restrict partial, const ulong partial_offset,
    global float *restrict gradients, const ulong gamma_offset, const ulong beta_offset)
{
    const int c = (int)get_global_id(0);
    global const float *restrict in = partial + partial_offset;
    float sum = 0.0f, product = 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        sum += in[(ulong)chunk * channels + c];
        product += in[((ulong)chunks + chunk) * channels + c];
    }
    gradients[gamma_offset + c] = product;
    gradients[beta_offset + c] = sum;
}

// dx = gamma * inverse * (g - (d beta + xhat * d gamma) / rows); the residual's gradient is g.
// Each is written (1), added to what is there (2) or left out (0), dx first: both may be the gradient of one value.
// Global size: as batch_norm_normalize.
kernel void batch_norm_gradient_input(
    const ulong rows, const int channels, const int rows_per_item,
    global const float *restrict x, const ulong x_offset,
    global const float *restrict y, const ulong y_offset,
    global const float *restrict dy, const ulong dy_offset,
    global const float *restrict statistics, const ulong statistics_offset,
    global const float *restrict parameters, const ulong gamma_offset, const ulong beta_offset,
    global const float *restrict gradients, const ulong dgamma_offset, const ulong dbeta_offset,
    global float *dx, const ulong dx_offset, global float *dresidual, const ulong dresidual_offset,
    const int rectified, const int dx_mode, const int dresidual_mode)
{
    ITEM_CHANNELS(channels)
    const ulong first = get_global_id(1) * (ulong)rows_per_item;
    const ulong last = min(first + (ulong)rows_per_item, rows);
    const real_v mean = HERE(statistics + statistics_offset + c);
    const real_v inverse = HERE(statistics + statistics_offset + channels + c);
    const real_v scale = inverse * HERE(parameters + gamma_offset + c), beta = HERE(parameters + beta_offset + c);
    const real_v product = HERE(gradients + dgamma_offset + c) / (float)rows;
    const real_v sum = HERE(gradients + dbeta_offset + c) / (float)rows;
    for (ulong r = first; r < last; ++r) {
        const ulong i = r * channels + c;
        ASK(x)
        ASK(dy)
        if (rectified == 2) ASK(y)
        if (dx_mode) ASK(dx)
        if (dresidual_mode) ASK(dresidual)
        const real_v g = MASKED(HERE(dy + dy_offset + i), i);
        if (dx_mode) {
            const real_v normalized = (HERE(x + x_offset + i) - mean) * inverse;
            store_lanes(scale * (g - fma(normalized, product, sum)), dx + dx_offset + i, lanes, dx_mode);
        }
        if (dresidual_mode) store_lanes(g, dresidual + dresidual_offset + i, lanes, dresidual_mode);
    }
}
