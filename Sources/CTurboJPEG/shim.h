// JPEG decoding, libjpeg-turbo's own interface.
#include <turbojpeg.h>
