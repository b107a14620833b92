// dlpack.h - the DLPack structs that the Python door reads, declared in our own words.
//
// DLPack is an ABI: what counts is the order and size of the fields, which the static_asserts below
// pin and tests/test_dlpack_layout.py compares with the header that an installed torch carries. So
// no header is vendored, and none is needed to build.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ortho::dlpack {

// A struct of another major version may be laid out differently; minor versions only add codes.
constexpr uint32_t kMajorVersion = 1;

enum DeviceType : int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3, kCudaManaged = 13 };

constexpr uint64_t kReadOnly = 1;

struct Version {
  uint32_t major;
  uint32_t minor;
};

struct Device {
  int32_t type;
  int32_t id;
};

struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct Tensor {
  void* data;  // byte_offset not yet added; null when the tensor is empty
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null in older producers: row-major
  uint64_t byte_offset;
};

// What a capsule named "dltensor" holds: producers from before version 1.
struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

// What a capsule named "dltensor_versioned" holds. Every version begins with the fields up to
// flags, so the deleter can be called even where the rest cannot be read.
struct ManagedTensorVersioned {
  Version version;
  void* context;
  void (*deleter)(ManagedTensorVersioned*);
  uint64_t flags;
  Tensor tensor;
};

struct ExchangeApiHeader {
  Version version;
  ExchangeApiHeader* older;  // the same producer's table of an older version, or null
};

// The C functions that an array type offers in `type.__dlpack_c_exchange_api__`: arrays are read
// without a capsule or a Python call. Each returns 0, or -1 with a Python error set.
struct ExchangeApi {
  ExchangeApiHeader header;
  int (*allocate)(Tensor* prototype, ManagedTensorVersioned** out, void* error_context,
                  void (*set_error)(void* error_context, const char* kind, const char* message));
  int (*export_managed)(void* array, ManagedTensorVersioned** out);
  int (*import_managed)(ManagedTensorVersioned* tensor, void** array);
  int (*borrow)(void* array, Tensor* out);  // may be null; `out` is valid while the array lives
  int (*current_stream)(int32_t device_type, int32_t device_id, void** stream);
};

static_assert(sizeof(void*) == 8, "the offsets below are those of a 64-bit machine");
static_assert(sizeof(Version) == 8 && sizeof(Device) == 8 && sizeof(DataType) == 4);
static_assert(offsetof(Tensor, device) == 8 && offsetof(Tensor, ndim) == 16);
static_assert(offsetof(Tensor, dtype) == 20 && offsetof(Tensor, shape) == 24);
static_assert(offsetof(Tensor, strides) == 32 && offsetof(Tensor, byte_offset) == 40);
static_assert(sizeof(Tensor) == 48);
static_assert(offsetof(ManagedTensor, context) == 48 && offsetof(ManagedTensor, deleter) == 56);
static_assert(sizeof(ManagedTensor) == 64);
static_assert(offsetof(ManagedTensorVersioned, context) == 8);
static_assert(offsetof(ManagedTensorVersioned, deleter) == 16);
static_assert(offsetof(ManagedTensorVersioned, flags) == 24);
static_assert(offsetof(ManagedTensorVersioned, tensor) == 32);
static_assert(sizeof(ManagedTensorVersioned) == 80);
static_assert(offsetof(ExchangeApiHeader, older) == 8 && sizeof(ExchangeApiHeader) == 16);
static_assert(offsetof(ExchangeApi, allocate) == 16 && offsetof(ExchangeApi, export_managed) == 24);
static_assert(offsetof(ExchangeApi, import_managed) == 32 && offsetof(ExchangeApi, borrow) == 40);
static_assert(offsetof(ExchangeApi, current_stream) == 48 && sizeof(ExchangeApi) == 56);

}  // namespace ortho::dlpack
