// The op polar in the Python door: one array, or a whole model in one call.
#include "doors/python_polar.h"

#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "doors/dlpack_reader.h"

namespace py = pybind11;

namespace ortho::door {

int32_t Choose(const char* op, const char* option, const std::string& got,
               std::initializer_list<const char*> names) {
  std::string wanted;
  for (const char* const* name = names.begin(); name != names.end(); ++name) {
    if (got == *name) return static_cast<int32_t>(name - names.begin());
    wanted += (wanted.empty() ? "'" : " or '") + std::string(*name) + "'";
  }
  throw py::value_error(std::string(op) + ": " + option + " must be " + wanted + ", got '" + got +
                        "'");
}

PolarOptions::PolarOptions(const std::string& method_name, std::optional<std::vector<double>> table,
                           const std::string& precision_name, const std::string& rank_name,
                           std::optional<double> threshold)
    : ortho_polar_options(ORTHO_POLAR_OPTIONS_DEFAULT),
      values(std::move(table).value_or(std::vector<double>())) {
  method = Choose("polar", "method", method_name, {"exact", "polynomial", "newton"});
  precision = Choose("polar", "precision", precision_name, {"float32", "float16", "bfloat16"});
  rank = Choose("polar", "rank", rank_name, {"truncate", "complete"});
  if (threshold && !(*threshold >= 0))
    throw py::value_error("polar: rtol must be >= 0, got " +
                          std::string(py::str(py::float_(*threshold))));
  if (threshold) rtol = *threshold;
  if (values.size() % 3)
    throw py::value_error("polar: coefficients must hold 3 numbers per step, got " +
                          std::to_string(values.size()));
  coefficients = values.data();
  steps = static_cast<int64_t>(values.size() / 3);
}

namespace {

void Run(const PolarOptions& options, const ortho_tensor* x, const ortho_tensor* out,
         const int64_t* row_blocks, size_t count, void* stream) {
  const auto n = static_cast<int64_t>(count);
  WithWorkspace(
      [&](void* workspace, size_t bytes) {
        return ortho_polar(&options, x, out, row_blocks, n, workspace, bytes, stream);
      },
      [&](size_t* bytes) { return ortho_polar_workspace(&options, x, row_blocks, n, bytes); });
}

void Polar(const PolarOptions& options, py::handle x, py::handle out) {
  const Argument arguments[] = {{x.ptr(), "x"}, {out.ptr(), "out"}};
  ortho_tensor views[2];
  Lease leases[2];
  void* stream = ReadArrays("polar", arguments, 2, views, leases);
  Run(options, &views[0], &views[1], nullptr, 1, stream);
}

void CheckLength(const char* name, size_t got, size_t needed) {
  if (got != needed)
    throw py::value_error("polar_foreach: " + std::string(name) + " must have length " +
                          std::to_string(needed) + " like tensors, got " + std::to_string(got));
}

void PolarForeach(const PolarOptions& options, const py::sequence& tensors, const py::sequence& out,
                  std::optional<std::vector<int64_t>> row_blocks) {
  // Tuples of our own keep every array alive, whatever another thread does to the lists meanwhile.
  const py::tuple held[] = {py::tuple(tensors), py::tuple(out)};
  const size_t count = held[0].size();
  CheckLength("out", held[1].size(), count);
  // Never null: that is how the library tells a list of one tensor from a tensor, in its words.
  if (!row_blocks) row_blocks.emplace(count, ORTHO_VIEW_BATCH);
  CheckLength("row_blocks", row_blocks->size(), count);
  std::vector<Argument> arguments;
  arguments.reserve(2 * count);
  for (const bool is_out : {false, true})
    for (size_t i = 0; i < count; ++i)
      arguments.push_back(
          {held[is_out][i].ptr(), is_out ? "out" : "tensors", static_cast<Py_ssize_t>(i)});
  std::vector<ortho_tensor> views(2 * count);
  std::vector<Lease> leases(2 * count);
  void* stream =
      ReadArrays("polar_foreach", arguments.data(), 2 * count, views.data(), leases.data());
  Run(options, views.data(), views.data() + count, row_blocks->data(), count, stream);
}

}  // namespace

void DefinePolar(py::module_& module) {
  py::class_<PolarOptions>(module, "PolarOptions",
                           "What polar does to a matrix: checked once, used for many calls.")
      .def(py::init<const std::string&, std::optional<std::vector<double>>, const std::string&,
                    const std::string&, std::optional<double>>(),
           py::arg("method"), py::kw_only(), py::arg("coefficients") = py::none(),
           py::arg("precision") = "float32", py::arg("rank") = "truncate",
           py::arg("rtol") = py::none());
  module.def("polar", &Polar, py::arg("options"), py::arg("x"), py::arg("out"), py::pos_only(),
             "The polar factor of every matrix of x (..., m, n) into out.");
  module.def("polar_foreach", &PolarForeach, py::arg("options"), py::arg("tensors"), py::arg("out"),
             py::arg("row_blocks"), py::pos_only(),
             "polar of many arrays, read as matrices by ORTHO_VIEW_* or a number of row blocks.");
}

}  // namespace ortho::door
