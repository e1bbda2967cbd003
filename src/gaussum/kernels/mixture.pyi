# for compiled code: see mixture.pxd
