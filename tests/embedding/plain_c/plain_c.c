/* Log densities under a Gaussian mixture, in C: gaussum's functions through the table of gaussum.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

#include <gaussum.h>

static const char log_density_doc[] =
    "log_density(X, weights, means, covariances, out)\n--\n\n"
    "Log densities of samples under a mixture with full covariances; all are buffers of doubles in C order:\n"
    "(n, d), (K,), (K, d), (K, d, d) and (n,).";

static PyObject *log_density(PyObject *self, PyObject *args)
{
    Py_buffer X, weights, means, covariances, out;
    ptrdiff_t n, d, K, failed = -1;
    double *parameters = NULL, *scratch = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*", &X, &weights, &means, &covariances, &out))
        return NULL;
    K = weights.len / (ptrdiff_t)sizeof(double);
    d = K > 0 ? means.len / weights.len : 0;
    n = out.len / (ptrdiff_t)sizeof(double);
    if (d < 1 || means.len != K * d * (ptrdiff_t)sizeof(double) || covariances.len != means.len * d
        || X.len != out.len * d) {
        PyErr_SetString(PyExc_ValueError, "the buffers do not fit together");
        goto end;
    }
    parameters = malloc(sizeof(double) * (size_t)gaussum->parameters_size(GAUSSUM_FULL, d, K));
    scratch = malloc(sizeof(double) * (size_t)gaussum->mixture_scratch(GAUSSUM_FULL, d, K));
    if (parameters == NULL || scratch == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    failed = gaussum->mixture_from_covariances(GAUSSUM_FULL, d, K, weights.buf, means.buf, covariances.buf, parameters);
    if (failed == 0)
        gaussum->mixture_log_density(GAUSSUM_FULL, d, K, n, X.buf, d, 1, parameters, out.buf, scratch);
    Py_END_ALLOW_THREADS
    if (failed != 0)
        PyErr_Format(PyExc_ValueError, "covariance %zd is not positive definite", (Py_ssize_t)failed - 1);
end:
    free(parameters);
    free(scratch);
    PyBuffer_Release(&X);
    PyBuffer_Release(&weights);
    PyBuffer_Release(&means);
    PyBuffer_Release(&covariances);
    PyBuffer_Release(&out);
    if (failed != 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"log_density", log_density, METH_VARARGS, log_density_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "plain_c", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_plain_c(void)
{
    if (gaussum_import() < 0)
        return NULL;
    return PyModule_Create(&module);
}
