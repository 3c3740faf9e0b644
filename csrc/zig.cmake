# A toolchain that compiles for other systems: Zig's Clang brings their C and C++ libraries.
#
#   pip install ziglang
#   cmake -S csrc -B build/windows -DCMAKE_TOOLCHAIN_FILE=zig.cmake -DZIG_TARGET=x86_64-windows-gnu
#
# Targets: {x86_64,aarch64}-{linux-musl,macos,windows-gnu}. docs/deploying.md says what was run.
set(ZIG "python3 -m ziglang" CACHE STRING "Zig's command")
set(ZIG_TARGET "" CACHE STRING "What is compiled for, such as x86_64-windows-gnu")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG ZIG_TARGET)

if(NOT ZIG_TARGET MATCHES "^(x86_64|aarch64)-(linux|macos|windows)")
    message(FATAL_ERROR "ZIG_TARGET is '${ZIG_TARGET}'; such as x86_64-windows-gnu is needed")
endif()
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
set(zig_linux Linux)
set(zig_macos Darwin)
set(zig_windows Windows)
set(CMAKE_SYSTEM_NAME ${zig_${CMAKE_MATCH_2}})

# CMake wants a program for each tool. Zig has its own names for ARM's versions.
set(zig_words [=[
for word; do
    shift
    case "$word" in
    -march=armv8.2-a*) word="-mcpu=generic+v8_2a${word#-march=armv8.2-a}" ;;
    esac
    set -- "$@" "$word"
done
]=])
foreach(tool cc c++ ar ranlib)
    set(file "${CMAKE_BINARY_DIR}/zig-${tool}")
    set(words "")
    set(target "")
    if(tool MATCHES "^c")
        set(words "${zig_words}")
        set(target "-target ${ZIG_TARGET}")
    endif()
    if(NOT EXISTS "${file}")
        file(WRITE "${file}" "#!/bin/sh\n${words}exec ${ZIG} ${tool} ${target} \"$@\"\n")
        file(CHMOD "${file}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
    endif()
endforeach()
set(CMAKE_C_COMPILER "${CMAKE_BINARY_DIR}/zig-cc")
set(CMAKE_CXX_COMPILER "${CMAKE_BINARY_DIR}/zig-c++")
set(CMAKE_AR "${CMAKE_BINARY_DIR}/zig-ar" CACHE FILEPATH "")
set(CMAKE_RANLIB "${CMAKE_BINARY_DIR}/zig-ranlib" CACHE FILEPATH "")
