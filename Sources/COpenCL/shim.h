#pragma once
// OpenCL 1.2 is what every target offers (PoCL, NVIDIA, AMD, Intel); asking for more would only hide gaps.
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <CL/cl_ext.h>
