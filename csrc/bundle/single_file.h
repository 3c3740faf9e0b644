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
#include <map>
#include <string>
#include <string_view>

namespace onelayer {

// The files of a bundle by their names in its directory.
using BundleFiles = std::map<std::string, std::string_view, std::less<>>;

// Whether bytes begin as such a file does.
bool is_single_file(std::string_view bytes);

// The files in a single file's bytes, which must outlive them. Throws BundleError for a table that is
// damaged. The digests of the files themselves are in `digests`, and aren't compared here.
BundleFiles files_in(std::string_view bytes, std::map<std::string, std::string> &digests);

} // namespace onelayer
