// One batch from uint8 images in device memory (the data set, or the batch alone), where pixels are scaled or changed in colour,
// or images are mixed: crop, bilinear scaling, flip, brightness, contrast, saturation, mixing, normalisation and the labels, in
// one launch.
// What was drawn for each image comes from the host (ImageTransform.Placement, RLDGraph): eight floats per image.

// The colours of one output pixel of one image, 0...1; the first component alone with one channel.
static inline float4 placed_pixel(
    global const uchar *restrict source, const int channels, const int height, const int width, global const float *restrict draw,
    const int row, const int column, const int output_height, const int output_width)
{
    const int mirrored = draw[4] != 0.0f;
    const int across = mirrored ? output_width - 1 - column : column;
    const float y = draw[0] + ((float)row + 0.5f) * draw[2] / (float)output_height - 0.5f;
    const float x = draw[1] + ((float)across + 0.5f) * draw[3] / (float)output_width - 0.5f;
    float4 v = (float4)(0.0f);
    if (y >= -0.5f && y <= (float)height - 0.5f && x >= -0.5f && x <= (float)width - 0.5f) {
        const float cy = clamp(y, 0.0f, (float)(height - 1));
        const float cx = clamp(x, 0.0f, (float)(width - 1));
        const int y0 = (int)cy;
        const int x0 = (int)cx;
        const int y1 = min(y0 + 1, height - 1);
        const int x1 = min(x0 + 1, width - 1);
        const float fy = cy - (float)y0;
        const float fx = cx - (float)x0;
        const int plane = height * width;
        // The same plane three times with one channel: no branch, no array.
        const int second = channels == 3 ? plane : 0;
        const int third = channels == 3 ? 2 * plane : 0;
        const int a = y0 * width + x0;
        const int b = y0 * width + x1;
        const int c = y1 * width + x0;
        const int d = y1 * width + x1;
        const float4 va = (float4)(source[a], source[second + a], source[third + a], 0.0f);
        const float4 vb = (float4)(source[b], source[second + b], source[third + b], 0.0f);
        const float4 vc = (float4)(source[c], source[second + c], source[third + c], 0.0f);
        const float4 vd = (float4)(source[d], source[second + d], source[third + d], 0.0f);
        v = ((va * (1.0f - fx) + vb * fx) * (1.0f - fy) + (vc * (1.0f - fx) + vd * fx) * fy) / 255.0f;
    }
    v = clamp(v * draw[5], 0.0f, 1.0f);
    v = clamp(0.5f + draw[6] * (v - 0.5f), 0.0f, 1.0f);
    const float grey = 0.299f * v.x + 0.587f * v.y + 0.114f * v.z;
    return channels == 3 ? clamp(grey + draw[7] * (v - grey), 0.0f, 1.0f) : v;
}

// y[n, h, w, c]. Image n of the batch has the label of image indices[n] of the data set and the pixels of image rows[n].
// mixing: 0 none, 1 blend with image batch - 1 - n, 2 its pixels inside the box, 3 its pixels outside the box.
// Global size: [ceil(output_height * output_width / pixels_per_item), batch].
kernel void augment_images(
    const int channels, const int height, const int width, const int output_height, const int output_width,
    const int pixels_per_item, global const uchar *restrict pixels, global const int *restrict table_labels,
    global const int *restrict indices, global const int *restrict rows, global const float *restrict draws,
    global const float *restrict mean_deviation, global float *restrict images, const ulong images_offset,
    global int *restrict labels, const int mixing, const float share,
    const int box_top, const int box_left, const int box_height, const int box_width)
{
    const ulong n = get_global_id(1);
    const ulong other = get_global_size(1) - 1 - n;
    const ulong image_size = (ulong)channels * (ulong)(height * width);
    global const uchar *restrict source = pixels + (ulong)rows[n] * image_size;
    global const uchar *restrict partner = pixels + (ulong)rows[other] * image_size;
    if (get_global_id(0) == 0) labels[n] = table_labels[indices[n]];

    const int plane = output_height * output_width;
    const int first = (int)get_global_id(0) * pixels_per_item;
    const int last = min(first + pixels_per_item, plane);
    for (int p = first; p < last; ++p) {
        const int row = p / output_width;
        const int column = p % output_width;
        float4 v = placed_pixel(source, channels, height, width, draws + 8 * n, row, column, output_height, output_width);
        if (mixing != 0) {
            const int inside =
                row >= box_top && row < box_top + box_height && column >= box_left && column < box_left + box_width;
            const float own = mixing == 1 ? share : inside == (mixing == 3) ? 1.0f : 0.0f;
            const float4 w =
                placed_pixel(partner, channels, height, width, draws + 8 * other, row, column, output_height, output_width);
            v = own * v + (1.0f - own) * w;
        }
        global float *restrict target = images + images_offset + (n * (ulong)plane + (ulong)p) * (ulong)channels;
        target[0] = (v.x - mean_deviation[0]) / mean_deviation[channels];
        if (channels == 3) {
            target[1] = (v.y - mean_deviation[1]) / mean_deviation[4];
            target[2] = (v.z - mean_deviation[2]) / mean_deviation[5];
        }
    }
}
