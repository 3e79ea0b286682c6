// crop.cu compiled for the host; `launch` is what the driver does.
#include "../../../../rtau/gpu/crop.cu"

extern "C" void launch(int blocks, int faces, int threads, const Face* face, __half* out, int width, int height) {
    blockDim = {threads, 1};
    for (blockIdx.y = 0; blockIdx.y < faces; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
            for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) crop(face, out, width, height);
}
