// torch.optim.SGD over one flat parameter buffer, in one launch:
// d = g + weight_decay * p; v = momentum * v + d; p -= learning_rate * (nesterov ? d + momentum * v : v).
// The velocity starts at 0, which makes the first step v = d.
#ifndef ITEM
#define ITEM 1  // elements per work-item
#endif

kernel void sgd_update(
    const ulong count, global const float *restrict gradients, global float *restrict parameters,
    global float *restrict velocity, const float learning_rate, const float momentum, const float weight_decay,
    const int nesterov)
{
    const ulong first = get_global_id(0) * (ulong)(ITEM);
    const ulong last = min(first + (ulong)(ITEM), count);
    for (ulong i = first; i < last; ++i) {
        const float d = fma(weight_decay, parameters[i], gradients[i]);
        const float v = fma(momentum, velocity[i], d);
        velocity[i] = v;
        parameters[i] -= learning_rate * (nesterov ? fma(momentum, v, d) : v);
    }
}
