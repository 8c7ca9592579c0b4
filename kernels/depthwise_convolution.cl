// Convolution with one filter per channel, channels-last: forward, input gradient and weight gradient. Sums run over taps in order.
// Weights are packed by pack_weights.cl, weight gradients added up by grouped_weight_combine
// (partial_sums.cl), those of the gpu profile by convolution_weight_merge.cl.
#include "common/depthwise_pixels.clh"
#include "common/depthwise_rows.clh"
