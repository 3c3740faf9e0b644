# onelayer.wasm: the library without files and threads. It imports two functions, so any host can
# load it; js/onelayer.js does.
set(functions malloc free onelayer_version onelayer_error onelayer_last_status onelayer_open_memory
    onelayer_with onelayer_close onelayer_describe onelayer_n_labels onelayer_label onelayer_predict
    onelayer_count onelayer_prediction_at onelayer_json onelayer_free)
list(TRANSFORM functions PREPEND _)
list(JOIN functions "," functions)
add_executable(onelayer_wasm wasm/layout.cpp ${objects})
set_target_properties(onelayer_wasm PROPERTIES OUTPUT_NAME onelayer SUFFIX .wasm)
# Binaryen's passes still find something when they run again.
target_link_options(onelayer_wasm PRIVATE --no-entry -Oz -flto -fwasm-exceptions -sSTANDALONE_WASM
    -sMALLOC=emmalloc -sBINARYEN_EXTRA_PASSES=-Oz,--converge -sALLOW_MEMORY_GROWTH=1
    -sMAXIMUM_MEMORY=4GB -sEXPORTED_FUNCTIONS=${functions})
