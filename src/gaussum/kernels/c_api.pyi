# a capsule
_C_API: object
