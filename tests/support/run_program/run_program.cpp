// onelayer-run as a function of a library: tests call it without starting a process.
#include "../../../csrc/base/decimals.cpp"
#include "../../../csrc/base/exact_decimal.cpp"
#include "../../../csrc/base/json.cpp"
#include "../../../csrc/base/json_copy.cpp"
#include "../../../csrc/base/json_parser.cpp"
#include "../../../csrc/base/json_writer.cpp"
#include "../../../csrc/base/text.cpp"
#include "../../../csrc/program/input_lines.cpp"
#include "../../../csrc/program/line_rows.cpp"
#include "../../../csrc/program/output_line.cpp"
#define main program_main
#include "../../../csrc/program/onelayer_run.cpp"
#undef main

extern "C" int onelayer_run_main(int count, char **words) { return program_main(count, words); }
