// What crop.cu needs of CUDA, for a plain C++ compiler: threads become loops, one after another.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#define __global__
#define __device__

using std::max;
using std::min;

struct Index { int x, y; };
static Index blockIdx, blockDim, threadIdx;

typedef _Float16 __half;
static inline __half __float2half_rn(float value) { return (__half)value; }
