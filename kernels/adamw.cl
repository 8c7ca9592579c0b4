// torch.optim.AdamW over one flat parameter buffer, in one launch. With decay = 1 - learning_rate * weight_decay,
// rate = learning_rate / (1 - beta1^t) and correction = 1 / sqrt(1 - beta2^t), computed on the host in double:
// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; p = decay p - rate m / (sqrt(v) * correction + epsilon).
#ifndef ITEM
#define ITEM 1  // elements per work-item
#endif

kernel void adamw_update(
    const ulong count, global const float *restrict gradients, global float *restrict parameters,
    global float *restrict first_moment, global float *restrict second_moment, const float decay, const float rate,
    const float correction, const float beta1, const float share1, const float beta2, const float share2, const float epsilon)
{
    const ulong first = get_global_id(0) * (ulong)(ITEM);
    const ulong last = min(first + (ulong)(ITEM), count);
    for (ulong i = first; i < last; ++i) {
        const float g = gradients[i];
        const float m = fma(beta1, first_moment[i], share1 * g);
        const float v = fma(beta2, second_moment[i], share2 * g * g);
        first_moment[i] = m;
        second_moment[i] = v;
        parameters[i] = fma(decay, parameters[i], -(rate * (m / fma(sqrt(v), correction, epsilon))));
    }
}
