// One batch from uint8 images in device memory (the data set, or the batch alone): gather, random crop from a zero-padded image, horizontal
// flip, normalisation, and the labels, in one launch. ImageTransform (RLDGraph) defines the random draw; this computes the
// same from (key, image index), key = splitmix64(splitmix64(seed) ^ epoch).

static inline ulong splitmix64(ulong x)
{
    ulong z = x + 0x9E3779B97F4A7C15UL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
    return z ^ (z >> 31);
}

// y[n, h, w, c] = (pixel / 255 - mean[c]) / deviation[c]. Image n of the batch is number indices[n] of the data set, for its
// label and its draw; its pixels are those of image rows[n].
// Global size: [ceil(height * width / pixels_per_item), batch].
kernel void gather_images(
    const int channels, const int height, const int width, const int pixels_per_item,
    global const uchar *restrict pixels, global const int *restrict table_labels,
    global const int *restrict indices, global const int *restrict rows, global const float *restrict mean_deviation,
    global float *restrict images, const ulong images_offset, global int *restrict labels,
    const ulong key, const int padding, const int flip)
{
    const ulong n = get_global_id(1);
    const int index = indices[n];
    const ulong bits = splitmix64(key + (ulong)index);
    const ulong range = (ulong)(2 * padding + 1);
    const int row_shift = (int)((bits & 0xFFFF) % range) - padding;
    const int column_shift = (int)(((bits >> 16) & 0xFFFF) % range) - padding;
    const int mirrored = flip && ((bits >> 32) & 1);
    const int plane = height * width;
    global const uchar *restrict source = pixels + (ulong)rows[n] * (ulong)(channels * plane);
    if (get_global_id(0) == 0) labels[n] = table_labels[index];

    const int first = (int)get_global_id(0) * pixels_per_item;
    const int last = min(first + pixels_per_item, plane);
    for (int p = first; p < last; ++p) {
        const int column = p % width;
        const int h = p / width + row_shift;
        const int w = (mirrored ? width - 1 - column : column) + column_shift;
        const int inside = h >= 0 && h < height && w >= 0 && w < width;
        for (int c = 0; c < channels; ++c) {
            const float v = inside ? (float)source[c * plane + h * width + w] / 255.0f : 0.0f;
            images[images_offset + (n * plane + p) * channels + c] = (v - mean_deviation[c]) / mean_deviation[channels + c];
        }
    }
}
