// Multiply-adds between registers: the yardstick for arithmetic (2 * 12 * VECTOR * rounds operations per work-item).
#include "common/vector.clh"

#define EACH_CHAIN(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
// Enough chains to hide the latency of one multiply-add, few enough for 16 registers: with 16 chains those of AVX2 gave half.
#define CHAIN_BEGIN(c) real_v v##c = (real_v)(start + c);
#define CHAIN_STEP(c) v##c = fma(v##c, (real_v)(factor), (real_v)(addend));
#define CHAIN_SUM(c) sum += v##c;

// result[item] = the sum over 12 chains of v, where v = start + chain + item and `rounds` times v = v * factor + addend.
__kernel void multiply_add_peak(
    const int rounds, const float first, const float factor, const float addend,
    __global float *restrict result, const ulong resultOffset)
{
    const ulong item = get_global_id(0);
    const float start = first + (float)(item % 7);
    EACH_CHAIN(CHAIN_BEGIN)
    for (int i = 0; i < rounds; ++i) {
        EACH_CHAIN(CHAIN_STEP)
    }
    real_v sum = (real_v)(0.0f);
    EACH_CHAIN(CHAIN_SUM)
    store_v(sum, result + resultOffset + item * VECTOR);
}
