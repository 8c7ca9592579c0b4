// A deliberate fault: writes one element past a buffer of `count`. Only `rld doctor --plant-fault` launches it, to prove
// that the checker watching the kernels would have seen one.
kernel void planted_fault(const ulong count, global float *restrict y)
{
    y[get_global_id(0) + 1] = (float)count;
}
