// What every training step has beside its layers and its loss, as one program, because drivers take their time for each.
#include "gather_images.cl"
#include "pack_weights.cl"
#include "elementwise.cl"
#include "partial_sums.cl"
#include "updates.cl"
#include "sgd.cl"
#include "adamw.cl"
