// PNG reading and writing, libpng's simplified interface.
#include <png.h>
