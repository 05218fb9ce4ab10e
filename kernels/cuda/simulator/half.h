// half: 16 bits to store, float to compute, rounded to nearest even as the GPU does.
#pragma once

struct alignas(2) half {
    uint16_t bits;
    half() = default;
    half(float value) {
        uint32_t x;
        memcpy(&x, &value, 4);
        uint32_t sign = x >> 16 & 0x8000, mantissa = x & 0x7fffff;
        int exponent = int(x >> 23 & 255) - 112;  // as half counts it
        if (exponent == 143)
            bits = sign | 0x7c00 | (mantissa ? 0x200 : 0);  // infinity, NaN
        else if (exponent >= 31)
            bits = sign | 0x7c00;  // too large
        else if (exponent > 0)
            bits = sign + rounded(uint32_t(exponent) << 23 | mantissa, 13);
        else
            bits = sign + (exponent < -10 ? 0 : rounded(mantissa | 0x800000, 14 - exponent));  // subnormal
    }
    operator float() const {
        uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, mantissa = bits & 1023;
        if (!exponent) return (sign ? -1.f : 1.f) * ldexpf(float(mantissa), -24);
        uint32_t x = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
        float value;
        memcpy(&value, &x, 4);
        return value;
    }

private:
    static uint32_t rounded(uint32_t x, int shift) {  // x >> shift; a carry runs over into the exponent, as it should
        uint32_t kept = x >> shift, rest = x & ((1u << shift) - 1), middle = 1u << (shift - 1);
        return kept + (rest > middle || (rest == middle && (kept & 1)));
    }
};
struct alignas(4) half2 {
    half x, y;
};
inline half __float2half(float value) { return half(value); }
inline float __half2float(half value) { return float(value); }
inline half2 __floats2half2_rn(float x, float y) { return {half(x), half(y)}; }
