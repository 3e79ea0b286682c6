// The kernel of rtau/crop.py for the GPU: from YUV planes to a network's normalised input, one thread an output pixel.

#include <cuda_fp16.h>

struct Face {                      // rtau/gpu/views.py writes it
    unsigned long long y, u, v;    // addresses where sample (0, 0) of the stored picture lies, or would lie
    int luma_pitch, chroma_pitch;  // samples from row to row
    int chroma_step;               // samples from column to column: 2 where u and v alternate (NV12)
    int sample_bytes;              // 1 or 2
    int width, height;             // of the stored picture; no width: nothing to look at, the crop becomes 0
    int shift_x, shift_y;          // of chroma
    float transform[6];            // (2, 3) from crop pixels to the stored picture
    float colour[12];              // (3, 4) from y, u, v, 1 to normalised RGB
    float low[3], high[3];         // of the normalised channels
};
static_assert(sizeof(Face) == 152, "rtau/gpu/views.py writes 152 bytes");

const int MAX_TAPS = 4;  // the same two as in rtau/crop.py
const float TAP_SPACING = 2;

template <typename Sample>
static __device__ float bilinear(const Sample* plane, int pitch, int step, int right, int bottom, float x, float y) {
    x = fminf(fmaxf(x, 0.0f), (float)right);
    y = fminf(fmaxf(y, 0.0f), (float)bottom);
    int column = (int)x, row = (int)y;
    int next = min(column + 1, right), below = min(row + 1, bottom);
    const Sample* upper = plane + (long long)row * pitch;
    const Sample* lower = plane + (long long)below * pitch;
    float a = upper[column * step], b = upper[next * step], c = lower[column * step], d = lower[next * step];
    float top = a + (b - a) * (x - column);
    return top + (c + (d - c) * (x - column) - top) * (y - row);
}

template <typename Sample>
static __device__ void sample(const Face& face, float x, float y, float* yuv) {
    const float* m = face.transform;
    const int right = face.width - 1, bottom = face.height - 1;
    const int taps = min(max((int)ceilf(sqrtf(m[0] * m[0] + m[3] * m[3]) / TAP_SPACING), 1), MAX_TAPS);
    const int chroma_taps = face.shift_x ? (taps + 1) / 2 : taps;
    const float to_x = 1.0f / (1 << face.shift_x), to_y = 1.0f / (1 << face.shift_y);
    yuv[0] = yuv[1] = yuv[2] = 0;
    for (int a = 0; a < taps; a++)
        for (int b = 0; b < taps; b++) {
            float across = (b + 0.5f) / taps - 0.5f, down = (a + 0.5f) / taps - 0.5f;
            yuv[0] += bilinear((const Sample*)face.y, face.luma_pitch, 1, right, bottom,
                               x + m[0] * across + m[1] * down - 0.5f, y + m[3] * across + m[4] * down - 0.5f);
        }
    for (int a = 0; a < chroma_taps; a++)
        for (int b = 0; b < chroma_taps; b++) {
            float across = (b + 0.5f) / chroma_taps - 0.5f, down = (a + 0.5f) / chroma_taps - 0.5f;
            // chroma lies on the left luma column of its group, and midway between the rows
            float cx = (x + m[0] * across + m[1] * down) * to_x - 0.5f * to_x;
            float cy = (y + m[3] * across + m[4] * down) * to_y - 0.5f;
            yuv[1] += bilinear((const Sample*)face.u, face.chroma_pitch, face.chroma_step,
                               right >> face.shift_x, bottom >> face.shift_y, cx, cy);
            yuv[2] += bilinear((const Sample*)face.v, face.chroma_pitch, face.chroma_step,
                               right >> face.shift_x, bottom >> face.shift_y, cx, cy);
        }
    yuv[0] /= taps * taps;
    yuv[1] /= chroma_taps * chroma_taps;
    yuv[2] /= chroma_taps * chroma_taps;
}

// faces (F), out (F, 3, height, width); grid (enough blocks for height * width threads, F).
extern "C" __global__ void crop(const Face* faces, __half* out, int width, int height) {
    const Face& face = faces[blockIdx.y];
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x, pixels = width * height;
    if (pixel >= pixels) return;
    out += (long long)blockIdx.y * 3 * pixels + pixel;
    const float* m = face.transform;
    const float across = pixel % width + 0.5f, down = pixel / width + 0.5f;
    const float x = m[0] * across + m[1] * down + m[2], y = m[3] * across + m[4] * down + m[5];
    const bool inside = x >= 0 && y >= 0 && x < face.width && y < face.height;
    float yuv[3] = {0, 0, 0};
    if (inside) {
        if (face.sample_bytes == 1) sample<unsigned char>(face, x, y, yuv);
        else sample<unsigned short>(face, x, y, yuv);
    }
    for (int c = 0; c < 3; c++) {
        const float* colour = face.colour + 4 * c;
        float value = colour[0] * yuv[0] + colour[1] * yuv[1] + colour[2] * yuv[2] + colour[3];
        value = fminf(fmaxf(value, face.low[c]), face.high[c]);
        out[c * pixels] = __float2half_rn(inside ? value : (face.low[c] + face.high[c]) * 0.5f);
    }
}
