# for compiled code: see densities.pxd
