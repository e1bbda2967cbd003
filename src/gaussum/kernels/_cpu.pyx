# cython: language_level=3
"""What this processor can run, and what compiled these modules."""

cdef extern from *:
    """
    #if defined(__x86_64__) || defined(_M_X64)
    #include <stdint.h>
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    static void cpuid(int leaf, unsigned *registers) { __cpuidex((int *)registers, leaf, 0); }
    static uint64_t saved_by_the_system(void) { return _xgetbv(0); }
    #else
    #include <cpuid.h>
    static void cpuid(int leaf, unsigned *registers)
    {
        __cpuid_count(leaf, 0, registers[0], registers[1], registers[2], registers[3]);
    }
    static uint64_t saved_by_the_system(void)
    {
        uint32_t low, high;
        __asm__ __volatile__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return low | (uint64_t)high << 32;
    }
    #endif

    /* the bits in the third register of two leaves, in the second of another, and of registers that are saved */
    static int has(unsigned features, unsigned more, unsigned wide, uint64_t saved)
    {
        const unsigned osxsave = 1u << 27;
        unsigned r[4];
        cpuid(0, r);
        if (r[0] < 7)
            return 0;
        cpuid(1, r);
        if ((r[2] & (features | osxsave)) != (features | osxsave) || (saved_by_the_system() & saved) != saved)
            return 0;
        cpuid((int)0x80000001u, r);
        if ((r[2] & more) != more)
            return 0;
        cpuid(7, r);
        return (r[1] & wide) == wide;
    }

    /* x86-64-v3: FMA, SSE4.2, MOVBE, POPCNT, AVX, F16C; LZCNT; BMI1, AVX2, BMI2; the halves of 256 bits */
    enum { V3_FEATURES = 1 << 12 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29, V3_MORE = 1 << 5,
           V3_WIDE = 1 << 3 | 1 << 5 | 1 << 8, V3_SAVED = 0x6 };
    static int has_v3(void) { return has(V3_FEATURES, V3_MORE, V3_WIDE, V3_SAVED); }

    /* x86-64-v4: AVX512 F, DQ, CD, BW, VL; masks and 512 bits, which macOS saves from their first use on */
    #define V4_WIDE (V3_WIDE | 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31)
    #ifdef __APPLE__
    #define V4_SAVED V3_SAVED
    #else
    #define V4_SAVED 0xe6
    #endif
    static int has_v4(void) { return has(V3_FEATURES, V3_MORE, V4_WIDE, V4_SAVED); }
    #else
    static int has_v3(void) { return 0; }
    static int has_v4(void) { return 0; }
    #endif
    #if defined(__clang__)
    #define COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define COMPILER "gcc " __VERSION__
    #elif defined(_MSC_VER)
    #define COMPILER "msvc"
    #else
    #define COMPILER "unknown"
    #endif
    """
    bint has_v3()
    bint has_v4()
    const char *COMPILER


def runnable():
    """The instruction sets that this processor and its operating system run, best first."""
    return ["v4"] * has_v4() + ["v3"] * has_v3() + ["baseline"]


def compiler():
    """The compiler and its version."""
    return COMPILER.decode()
