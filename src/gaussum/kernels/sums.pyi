# for compiled code: see sums.pxd
