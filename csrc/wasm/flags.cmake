# How sources are compiled for WebAssembly: small, except the engine's kernels, with vectors of 128
# bits and exceptions. All browsers have both since 2021 to 2023.
set(CMAKE_C_FLAGS_RELEASE "-Oz -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-Oz -DNDEBUG")
add_compile_options(-msimd128 -fwasm-exceptions)
