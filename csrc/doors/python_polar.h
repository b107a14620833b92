// python_polar.h - what a polar factor is asked for, shared by the ops of the Python door that make
// one.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "doors/python.h"

namespace ortho::door {

// The position of `got` in `names`, which are in the order of their numbers in ortho.h.
int32_t Choose(const char* op, const char* option, const std::string& got,
               std::initializer_list<const char*> names);

// The options of the C ABI with the table that they point to: laid out once, used for many calls.
struct PolarOptions : ortho_polar_options {
  PolarOptions(const std::string& method_name, std::optional<std::vector<double>> table,
               const std::string& precision_name, const std::string& rank_name,
               std::optional<double> threshold);
  PolarOptions(const PolarOptions&) = delete;
  PolarOptions& operator=(const PolarOptions&) = delete;

  const std::vector<double> values;
};

}  // namespace ortho::door
