import gaussum
from setuptools import Extension, setup

setup(ext_modules=[Extension("plain_c", ["plain_c.c"], include_dirs=[gaussum.get_include()])])
