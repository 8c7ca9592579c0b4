// PNG reading and writing: libpng's simplified interface, and beside it one function.
#include <png.h>
#include <setjmp.h>
#include <string.h>

struct rld_png_source {
    const unsigned char *bytes;
    size_t left;
    char *message;
    size_t messageSize;
};

static void rld_png_error(png_structp png, png_const_charp text) {
    struct rld_png_source *source = (struct rld_png_source *)png_get_error_ptr(png);
    strncpy(source->message, text, source->messageSize - 1);
    longjmp(png_jmpbuf(png), 1);
}

static void rld_png_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void rld_png_read(png_structp png, png_bytep target, size_t count) {
    struct rld_png_source *source = (struct rld_png_source *)png_get_io_ptr(png);
    if (count > source->left) png_error(png, "it ends early");
    memcpy(target, source->bytes, count);
    source->bytes += count;
    source->left -= count;
}

// Decodes a picture's numbers as they are stored: what a file says of gamma and profile is not applied, of 16 bits the upper 8
// are taken, grey becomes three channels, transparency is dropped. The simplified interface applies gamma, and takes 16 bits for
// linear light. In C, because libpng leaves by longjmp.
// - message: zeroed; gets the reason of a failure.
// - returns: 1, or 0 for a failure.
__attribute__((noinline)) static int rld_png_decode(
    const unsigned char *bytes, size_t count, unsigned char *pixels, unsigned int width, unsigned int height, char *message,
    size_t messageSize) {
    struct rld_png_source source = {bytes, count, message, messageSize};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, rld_png_error, rld_png_warning);
    if (!png) return 0;
    png_infop info = png_create_info_struct(png);
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return 0;
    }
    png_set_read_fn(png, &source, rld_png_read);
    png_read_info(png, info);
    if (png_get_image_width(png, info) != width || png_get_image_height(png, info) != height) png_error(png, "it changed");
    png_set_strip_16(png);
    png_set_expand(png);
    png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)width * 3) png_error(png, "its rows are of no known kind");
    for (int pass = 0; pass < passes; ++pass)
        for (unsigned int row = 0; row < height; ++row) png_read_row(png, pixels + (size_t)row * width * 3, NULL);
    png_destroy_read_struct(&png, &info, NULL);
    return 1;
}
