// What an activation or a weight is: ATTUNE_PRECISION 0 is f32 (for checking), 1 bf16, 2 f16. Sums are f32 at each.

#if ATTUNE_PRECISION == 0
typedef float Element;
#else
typedef u16 Element;
#endif

// Eight elements that lie side by side, aligned to 16 bytes.
DEVICE void load8(float (&to)[8], const Element* from) {
#if ATTUNE_PRECISION == 0
    const float4 lower = ((const float4*)from)[0], upper = ((const float4*)from)[1];
    to[0] = lower.x, to[1] = lower.y, to[2] = lower.z, to[3] = lower.w;
    to[4] = upper.x, to[5] = upper.y, to[6] = upper.z, to[7] = upper.w;
#else
    const uint4 pairs = *(const uint4*)from;
    const u32 pair[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        to[2 * i] = widen((u16)(pair[i] & 0xffff));
        to[2 * i + 1] = widen((u16)(pair[i] >> 16));
    }
#endif
}

DEVICE void store8(Element* to, const float (&from)[8]) {
#if ATTUNE_PRECISION == 0
    ((float4*)to)[0] = {from[0], from[1], from[2], from[3]};
    ((float4*)to)[1] = {from[4], from[5], from[6], from[7]};
#else
    *(uint4*)to = {narrow2(from[0], from[1]), narrow2(from[2], from[3]), narrow2(from[4], from[5]), narrow2(from[6], from[7])};
#endif
}

DEVICE float load1(const Element* from) {
#if ATTUNE_PRECISION == 0
    return *from;
#else
    return widen(*from);
#endif
}

// Sum over the lanes of a warp, in the same order every time, known to all of them.
DEVICE float warp_sum(float x) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) x += shuffle_xor(x, distance);
    return x;
}

#if ATTUNE_PRECISION == 0
// The exact GELU, x Phi(x): the rational approximation of kernels/src/cpu/math.rs, same coefficients.
DEVICE float gelu(float x) {
    const float t = fminf(x * x, 30.25f);
    float p = 2.275026e-8f;
    p = p * t + 6.3517086e-6f;
    p = p * t + 0.00016879576f;
    p = p * t + 0.0046770778f;
    p = p * t + 0.033849925f;
    p = p * t + 0.39894223f;
    float q = 1.1974998e-6f;
    q = q * t + 7.3636824e-5f;
    q = q * t + 0.0018842772f;
    q = q * t + 0.028644271f;
    q = q * t + 0.2515151f;
    q = q * t + 1.0f;
    // A NaN that is lost here comes back with x.
    return x * (fminf(fmaxf(x * p * inverse(q), -0.5f), 0.5f) + 0.5f);
}

DEVICE void gelu2(float& first, float& second) { first = gelu(first), second = gelu(second); }
#else
// 1 + 2^-z where 1 / (1 + 2^-z) is Phi(x): log2(Phi / (1 - Phi)) is odd, and this polynomial is fitted to it so that x Phi(x)
// is off by 4e-5 at most, and by 2.5e-4 of itself where that is more than .001: an eighth of what rounding to bf16 does.
// The bound keeps a product of two finite.
DEVICE float gelu_divisor(float x) {
    const float t = x * x;
    float p = -1.34268623e-6f;
    p = p * t + 3.79337071e-5f;
    p = p * t + 7.87822879e-4f;
    p = p * t - 0.106528468f;
    p = p * t - 2.30097651f;
    return 1 + power_of_two(fminf(x * p, 60.0f));
}

// The exact GELU, x Phi(x), of two: inverses are the dearest part of it, and 1 / ab is the inverse of both.
DEVICE void gelu2(float& first, float& second) {
    const float a = gelu_divisor(first), b = gelu_divisor(second), both = inverse(a * b);
    first *= both * b;
    second *= both * a;
}
#endif
