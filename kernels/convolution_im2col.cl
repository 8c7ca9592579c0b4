// Convolution as a matrix product (the gpu profile): patches of channels-last values, one row per output pixel, columns in
// the order of the weights (input channel, kernel row, kernel column), so that OIHW weights need no packed copy.

// patches[r - first_row][column] for `rows` output pixels from first_row on. Global size: [columns, rows].
kernel void im2col(
    const int channels, const int height, const int width, const int output_height, const int output_width,
    const int kernel_size, const int stride, const int padding, const ulong first_row,
    global const float *restrict x, const ulong x_offset, global float *restrict patches, const ulong patches_offset)
{
    const int column = (int)get_global_id(0);
    const ulong r = first_row + get_global_id(1);
    const int taps = kernel_size * kernel_size;
    const int c = column / taps, kh = column % taps / kernel_size, kw = column % kernel_size;
    const int ow = (int)(r % (ulong)output_width), oh = (int)(r / (ulong)output_width % (ulong)output_height);
    const ulong n = r / (ulong)output_width / (ulong)output_height;
    const int h = oh * stride + kh - padding, w = ow * stride + kw - padding;
    float v = 0.0f;
    if (h >= 0 && h < height && w >= 0 && w < width)
        v = x[x_offset + ((n * height + h) * width + w) * channels + c];
    patches[patches_offset + get_global_id(1) * get_global_size(0) + column] = v;
}

// The gradient of im2col, gathered per input element from the patch rows first_row ..< first_row + rows; written (mode 1)
// or added to what is there (mode 2). Global size: [channels, pixels], the pixels from first_pixel on.
kernel void col2im(
    const int channels, const int height, const int width, const int output_height, const int output_width,
    const int kernel_size, const int stride, const int padding, const ulong first_row, const ulong rows,
    const ulong first_pixel, global const float *restrict patches, const ulong patches_offset, global float *restrict dx,
    const ulong dx_offset, const int mode)
{
    const int c = (int)get_global_id(0);
    const ulong pixel = first_pixel + get_global_id(1);
    const int w = (int)(pixel % (ulong)width), h = (int)(pixel / (ulong)width % (ulong)height);
    const ulong n = pixel / (ulong)width / (ulong)height;
    const ulong columns = (ulong)channels * kernel_size * kernel_size;
    float sum = 0.0f;
    for (int kh = 0; kh < kernel_size; ++kh) {
        const int vertical = h + padding - kh;
        if (vertical < 0 || vertical % stride || vertical / stride >= output_height) continue;
        for (int kw = 0; kw < kernel_size; ++kw) {
            const int horizontal = w + padding - kw;
            if (horizontal < 0 || horizontal % stride || horizontal / stride >= output_width) continue;
            const ulong r = (n * output_height + vertical / stride) * output_width + horizontal / stride;
            if (r < first_row || r >= first_row + rows) continue;
            sum += patches[patches_offset + (r - first_row) * columns + ((ulong)c * kernel_size + kh) * kernel_size + kw];
        }
    }
    const ulong i = dx_offset + pixel * channels + c;
    dx[i] = mode == 2 ? dx[i] + sum : sum;
}
