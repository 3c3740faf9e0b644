// A bundle in a single file: `onelayer export RUN --int8 --single-file` writes it, and
// docs/single-file.md describes it. All numbers are little-endian.
//
//      0  "onelayer"
//      8  the format's version, 1 (4 bytes), and the number of bytes of the table (4 bytes)
//     16  SHA-256 of the table (32 bytes), and 16 zeros
//     64  the table: {"files": [{"name": …, "offset": …, "size": …, "sha256": …}, …]}
//
// Each file begins at a multiple of 64, in the order of the table; zeros lie between them.
#pragma once
#include "../base/files.h"
#include <map>
#include <string>

namespace onelayer {

// A file of a bundle, as the table has it.
struct BundleFile {
    size_t begin, size; // in bytes of the single file
    std::string sha256;
};

// By their names in the bundle's directory.
using BundleFiles = std::map<std::string, BundleFile, std::less<>>;

// The files in a single file. Throws BundleError for a table that is damaged. The digests of the
// files themselves aren't compared here.
BundleFiles files_in(const ByteSource &all);

} // namespace onelayer
