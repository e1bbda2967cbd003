/* The functions of gaussum for C and C++: one table, fetched once, then pointer calls without Python.
 *
 *     #include <Python.h>                      first of all
 *     #include <gaussum.h>                     compile with -I of gaussum.get_include()
 *
 *     PyMODINIT_FUNC PyInit_mine(void)
 *     {
 *         if (gaussum_import() < 0)            ImportError, saying what is wrong
 *             return NULL;
 *         ...
 *     }
 *     ... gaussum->exp_array(n, x, out);       anywhere in this source file
 *
 * Every source file that calls the table has a pointer of its own: call gaussum_import in each, or hand `gaussum` on to
 * gaussum_use. With GAUSSUM_WITHOUT_PYTHON defined, only the latter is there, and Python.h is not needed.
 *
 * The functions need no GIL, allocate nothing, hold no state and raise nothing; they run in any thread, each with a
 * scratch of its own. They run the best build of the kernels for the processor. Arguments are IN, OUT, INOUT or SCRATCH
 * with a shape in C order; strides and sizes count doubles; nothing needs an alignment beyond a double's, though blocks
 * and their scratch are read fastest from a multiple of 64 bytes on; arrays must not overlap unless it says so. Sizes
 * are not checked.
 *
 * Mixtures of K components of d features are described by buffers of doubles:
 *
 *     parameters   weights (K,), log det U_k (K,), means (K, d), U, where U U^T = Sigma^-1
 *     statistics   sum_i w_i log p_i, sum_i w_i, nk (K,), first (K, d), second
 *
 *     structure                   FULL         TIED      DIAG      SPHERICAL
 *     U, covariances, second      (K, d, d)    (d, d)    (K, d)    (K,)        see second_size
 *
 * U is upper triangular, or 1 / sigma. nk = sum_i r_ik, first = sum_i r_ik (x_i - o_k) and second, the sums of
 * r_ik (x_i - o_k)(x_i - o_k)^T, are weighted moments about origins o_k, the means of the E-step: of FULL the upper
 * triangles, of TIED their sum over the components, of DIAG their diagonals, of SPHERICAL their traces.
 *
 * The same bits. A block is up to ld samples, feature by feature: x[j * ld + i]. GaussianMixture(accelerate=False)
 * takes float64 samples in parts of part_size samples, each in blocks of block_size from its own start (the last of
 * either is shorter), forms the statistics of a part from zero, and merges parts in their order. A loop that does so
 * gets the same bits, whatever its threads: from data as gaussum.embed.training_data gives them and parameters as
 * gaussum.embed.parameters does, with fewer than 16 components or 64 samples a component (or else components are left
 * out that hold nothing), no prior, one of the four structures, and data that vary in every direction; from 32 features
 * on with BLAS on one thread, which factorises the covariances.
 *
 * Rules for change. abi_version and size come first and stay. Within an abi_version entries are only appended: none
 * moves, goes, or changes its type, its meaning, or the layouts above. Whatever breaks that raises abi_version. So an
 * extension runs with the gaussum it was compiled against and every later one of the same abi_version; gaussum_import
 * refuses all others. What a function returns may change in its last digits from release to release.
 */
#ifndef GAUSSUM_H
#define GAUSSUM_H

#include <stddef.h>
#ifndef GAUSSUM_WITHOUT_PYTHON
#include <Python.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define GAUSSUM_ABI_VERSION 1

/* structures of covariances */
enum { GAUSSUM_FULL = 0, GAUSSUM_TIED = 1, GAUSSUM_DIAG = 2, GAUSSUM_SPHERICAL = 3 };

/* User data of integrands. All that they point to is the caller's, and is only read, but for the scratch. */

/* f(x) = sum_k w_k N(x; m_k, s_k^2): mixtures and kernel densities in one dimension */
typedef struct gaussum_line {
    ptrdiff_t n_components;
    const double *weights;              /* (n_components,) w_k */
    const double *log_heights;          /* (n_components,) log(w_k / (s_k sqrt(2 pi))), -inf where w_k = 0 */
    const double *means;                /* (n_components,) m_k */
    const double *inv_scales;           /* (n_components,) 1 / s_k */
} gaussum_line;

typedef struct gaussum_mixture {
    int structure;
    ptrdiff_t n_features;
    ptrdiff_t n_components;
    const double *parameters;           /* (parameters_size(structure, n_features, n_components),) */
    double *scratch;                    /* (mixture_scratch(structure, n_features, n_components),), a thread's own */
} gaussum_mixture;

/* f(x) = sum_s w_s prod_j N(x_j; s_j, h_j^2), or sum_s w_s N(x; s, H) in coordinates (x - origin) W, W W^T = H^-1 */
typedef struct gaussum_kernel_density {
    ptrdiff_t n_features;
    ptrdiff_t n_sources;
    const double *sources;              /* (n_features, n_sources), in those coordinates */
    const double *log_heights;          /* (n_sources,) log(w_s / prod_j (h_j sqrt(2 pi))), log(w_s |W| / ...) */
    const double *inv_bandwidth;        /* (n_features,) 1 / h_j; 1 in coordinates of W */
    const double *origin;               /* (n_features,); not read where W is NULL */
    const double *whitening;            /* (n_features, n_features) W, or NULL: points are taken as they are */
    double *scratch;                    /* (n_features,), a thread's own; not used where W is NULL */
} gaussum_kernel_density;

typedef struct gaussum_api {
    ptrdiff_t abi_version;              /* GAUSSUM_ABI_VERSION of the gaussum that made the table */
    ptrdiff_t size;                     /* sizeof(gaussum_api) there, in bytes */

    /* How many doubles: of covariances and second moments; of buffers of parameters and of statistics. -1 for a
     * structure that is none. */
    ptrdiff_t (*second_size)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K);                   /* IN */

    ptrdiff_t (*parameters_size)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K);                   /* IN */

    ptrdiff_t (*statistics_size)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K);                   /* IN */

    /* Samples in the blocks, and in the parts, of GaussianMixture's own passes: see "The same bits" above. */
    ptrdiff_t (*block_size)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K);                   /* IN */

    ptrdiff_t (*part_size)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n_samples);           /* IN */

    /* How many doubles of scratch the functions for blocks of ld samples, and the mixture_* functions, need. */
    ptrdiff_t (*block_scratch)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        ptrdiff_t ld);                  /* IN */

    ptrdiff_t (*mixture_scratch)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K);                   /* IN */

    /* x[j * ld + i] = X[i * row + j * column] */
    void (*block_load)(
        ptrdiff_t d,                    /* IN */
        ptrdiff_t n,                    /* IN, n <= ld */
        const double *X,                /* IN (n, d), strides `row` and `column` */
        ptrdiff_t row,                  /* IN in doubles */
        ptrdiff_t column,               /* IN in doubles */
        ptrdiff_t ld,                   /* IN */
        double *x);                     /* OUT (d, ld) */

    /* log p_ik = log w_k + log N(x_i; mu_k, Sigma_k) */
    void (*block_log_prob)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN, n <= ld */
        ptrdiff_t ld,                   /* IN */
        const double *x,                /* IN (d, ld) */
        const double *parameters,       /* IN (parameters_size(structure, d, K),) */
        double *log_prob,               /* OUT (K, ld) */
        double *scratch);               /* SCRATCH (block_scratch(structure, d, K, ld),) */

    /* log p_i = log sum_k exp(log p_ik) */
    void (*block_log_density)(
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN, n <= ld */
        ptrdiff_t ld,                   /* IN */
        const double *log_prob,         /* IN (K, ld) */
        double *log_density,            /* OUT (n,) */
        double *scratch);               /* SCRATCH (ld,) */

    /* r_ik = exp(log p_ik - log p_i), and log p_i */
    void (*block_responsibilities)(
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN, n <= ld */
        ptrdiff_t ld,                   /* IN */
        double *log_prob,               /* INOUT (K, ld): log p_ik, then r_ik */
        double *log_density,            /* OUT (n,) */
        double *scratch);               /* SCRATCH (ld,) */

    /* r_ik <- w_i r_ik; adds sum_i w_i log p_i and sum_i w_i to the first two statistics */
    void (*block_weigh)(
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN, n <= ld */
        ptrdiff_t ld,                   /* IN */
        double *resp,                   /* INOUT (K, ld): r_ik, then w_i r_ik */
        const double *log_density,      /* IN (n,) */
        const double *sample_weight,    /* IN (n,), or NULL: all 1 */
        double *statistics);            /* INOUT (2,): the first two */

    /* adds nk, first and second moments about the origins to the other statistics */
    void (*block_accumulate)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN, n <= ld */
        ptrdiff_t ld,                   /* IN */
        const double *x,                /* IN (d, ld) */
        const double *resp,             /* IN (K, ld): w_i r_ik */
        const double *origins,          /* IN (K, d) */
        double *statistics,             /* INOUT (statistics_size(structure, d, K),): all but the first two */
        double *scratch);               /* SCRATCH (block_scratch(structure, d, K, ld),) */

    /* total <- total + part, of statistics about the same origins */
    void (*merge_statistics)(
        ptrdiff_t size,                 /* IN */
        const double *part,             /* IN (size,) */
        double *total);                 /* INOUT (size,) */

    /* The M-step. Returns 0, or 1 + the first k whose covariance is not positive definite. The origins are the means of
     * the E-step; the ridge is a scatter added to the diagonals, and may be zeros. */
    ptrdiff_t (*mixture_maximize)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        const double *statistics,       /* IN (statistics_size(structure, d, K),) */
        const double *origins,          /* IN (K, d) */
        const double *ridge,            /* IN (d,) */
        double *parameters,             /* OUT (parameters_size(structure, d, K),), not where the origins are */
        double *covariances,            /* OUT (second_size(structure, d, K),) */
        double *scratch);               /* SCRATCH (mixture_scratch(structure, d, K),) */

    /* Parameters from weights, means and covariances. Returns as mixture_maximize does. */
    ptrdiff_t (*mixture_from_covariances)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        const double *weights,          /* IN (K,) */
        const double *means,            /* IN (K, d) */
        const double *covariances,      /* IN (second_size(structure, d, K),) */
        double *parameters);            /* OUT (parameters_size(structure, d, K),) */

    /* log p_i of any number of samples */
    void (*mixture_log_density)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN */
        const double *X,                /* IN (n, d), strides `row` and `column` */
        ptrdiff_t row,                  /* IN in doubles */
        ptrdiff_t column,               /* IN in doubles */
        const double *parameters,       /* IN (parameters_size(structure, d, K),) */
        double *log_density,            /* OUT (n,) */
        double *scratch);               /* SCRATCH (mixture_scratch(structure, d, K),) */

    /* r_ik, and log p_i, of any number of samples */
    void (*mixture_responsibilities)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN */
        const double *X,                /* IN (n, d), strides `row` and `column` */
        ptrdiff_t row,                  /* IN in doubles */
        ptrdiff_t column,               /* IN in doubles */
        const double *parameters,       /* IN (parameters_size(structure, d, K),) */
        double *resp,                   /* OUT (n, K) */
        double *log_density,            /* OUT (n,), or NULL */
        double *scratch);               /* SCRATCH (mixture_scratch(structure, d, K),) */

    /* The E-step and the statistics about the means, of any number of samples: adds to `statistics` */
    void (*mixture_statistics)(
        int structure,                  /* IN */
        ptrdiff_t d,                    /* IN */
        ptrdiff_t K,                    /* IN */
        ptrdiff_t n,                    /* IN */
        const double *X,                /* IN (n, d), strides `row` and `column` */
        ptrdiff_t row,                  /* IN in doubles */
        ptrdiff_t column,               /* IN in doubles */
        const double *sample_weight,    /* IN (n,), or NULL: all 1 */
        const double *parameters,       /* IN (parameters_size(structure, d, K),) */
        double *statistics,             /* INOUT (statistics_size(structure, d, K),) */
        double *scratch);               /* SCRATCH (mixture_scratch(structure, d, K),) */

    /* How many doubles of scratch the two sums need. */
    ptrdiff_t (*sum_scratch)(
        ptrdiff_t d);                   /* IN */

    /* g_t <- g_t + sum_s w_s exp(-r_ts^2 / 2), r_ts^2 = sum_j ((t_j - s_j) / h_j)^2; 0 from some 38 bandwidths on */
    void (*gaussian_sum)(
        ptrdiff_t d,                    /* IN */
        ptrdiff_t n_sources,            /* IN */
        const double *sources,          /* IN (n_sources, d), strides `source_row` and `source_column` */
        ptrdiff_t source_row,           /* IN in doubles */
        ptrdiff_t source_column,        /* IN in doubles */
        const double *weights,          /* IN (n_sources,), or NULL: all 1 */
        ptrdiff_t n_targets,            /* IN */
        const double *targets,          /* IN (n_targets, d), strides `target_row` and `target_column` */
        ptrdiff_t target_row,           /* IN in doubles */
        ptrdiff_t target_column,        /* IN in doubles */
        const double *bandwidth,        /* IN (d,) */
        double *sums,                   /* INOUT (n_targets,) */
        double *scratch);               /* SCRATCH (sum_scratch(d),) */

    /* log sum_s exp(log w_s - r_ts^2 / 2), finite and accurate at any distance */
    void (*gaussian_log_sum)(
        ptrdiff_t d,                    /* IN */
        ptrdiff_t n_sources,            /* IN */
        const double *sources,          /* IN (n_sources, d), strides `source_row` and `source_column` */
        ptrdiff_t source_row,           /* IN in doubles */
        ptrdiff_t source_column,        /* IN in doubles */
        const double *log_weights,      /* IN (n_sources,), or NULL: all 0 */
        ptrdiff_t n_targets,            /* IN */
        const double *targets,          /* IN (n_targets, d), strides `target_row` and `target_column` */
        ptrdiff_t target_row,           /* IN in doubles */
        ptrdiff_t target_column,        /* IN in doubles */
        const double *bandwidth,        /* IN (d,) */
        double *log_sums,               /* OUT (n_targets,) */
        double *scratch);               /* SCRATCH (sum_scratch(d),) */

    /* exp and log of every number, within one unit in the last place */
    void (*exp_array)(
        ptrdiff_t n,                    /* IN */
        const double *x,                /* IN (n,) */
        double *out);                   /* OUT (n,), may be x */

    void (*log_array)(
        ptrdiff_t n,                    /* IN */
        const double *x,                /* IN (n,) */
        double *out);                   /* OUT (n,), may be x */

    /* Integrands in one dimension; the user data are a gaussum_line. sf is 1 - cdf, accurate where it is small. */
    double (*line_density)(double x, void *line);
    double (*line_log_density)(double x, void *line);
    double (*line_cdf)(double x, void *line);
    double (*line_sf)(double x, void *line);
    /* The same of x[0] */
    double (*line_density_at)(int n, double *x, void *line);
    double (*line_log_density_at)(int n, double *x, void *line);
    double (*line_cdf_at)(int n, double *x, void *line);
    double (*line_sf_at)(int n, double *x, void *line);
    /* Integrands in any dimension; the user data are a gaussum_mixture, */
    double (*mixture_density_at)(int n, double *x, void *mixture);
    double (*mixture_log_density_at)(int n, double *x, void *mixture);
    /* or a gaussum_kernel_density. NaN for fewer numbers than features. */
    double (*kernel_density_at)(int n, double *x, void *density);
    double (*kernel_log_density_at)(int n, double *x, void *density);
} gaussum_api;

/* the table, once gaussum_import has returned 0 */
static const gaussum_api *gaussum = NULL;

/* Use a table that another source file has imported. */
static inline void gaussum_use(const gaussum_api *table)
{
    gaussum = table;
}

#ifndef GAUSSUM_WITHOUT_PYTHON
/* Import gaussum and its table. Needs the GIL. Returns 0, or -1 with an ImportError (or what importing raised). */
static inline int gaussum_import(void)
{
    const gaussum_api *table = (const gaussum_api *)PyCapsule_Import("gaussum._C_API", 0);
    if (table == NULL)
        return -1;
    if (table->abi_version != GAUSSUM_ABI_VERSION) {
        PyErr_Format(PyExc_ImportError,
                     "this extension was compiled against version %zd of gaussum's C interface, but the gaussum that "
                     "is installed has version %zd: %s",
                     (Py_ssize_t)GAUSSUM_ABI_VERSION, (Py_ssize_t)table->abi_version,
                     table->abi_version < GAUSSUM_ABI_VERSION ? "install a newer gaussum"
                                                              : "compile the extension again");
        return -1;
    }
    if (table->size < (ptrdiff_t)sizeof(gaussum_api)) {
        PyErr_Format(PyExc_ImportError,
                     "this extension was compiled against a table of gaussum's functions of %zd bytes, but that of the "
                     "gaussum that is installed has only %zd: install a newer gaussum",
                     (Py_ssize_t)sizeof(gaussum_api), (Py_ssize_t)table->size);
        return -1;
    }
    gaussum_use(table);
    return 0;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
