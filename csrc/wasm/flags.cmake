# How sources are compiled for WebAssembly: small, and with vectors of 128 bits and exceptions. All
# browsers have both since 2021 to 2023, and the other instructions for longer. A module has no end at
# which anything would be destroyed.
set(CMAKE_C_FLAGS_RELEASE "-Oz -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-Oz -DNDEBUG")
add_compile_options(-msimd128 -mbulk-memory -mnontrapping-fptoint -msign-ext -fwasm-exceptions
    -flto -fno-rtti -fno-threadsafe-statics -fno-c++-static-destructors)
# The loops of the kernels are written out, so -O3 makes them larger and no faster.
set_source_files_properties(engine/kernels.cpp PROPERTIES COMPILE_OPTIONS -Os)
# Every model's weights are hashed when it is opened.
set_source_files_properties(base/sha256.cpp PROPERTIES COMPILE_OPTIONS -O2)
