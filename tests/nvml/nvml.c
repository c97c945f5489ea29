/* What dsray-inspect asks of NVML, with the types of NVIDIA's nvml.h.
 *
 * FAKE_NVML_GPUS   how many devices there are (1)
 * FAKE_NVML_ERROR  what nvmlInit answers, such as 9 (driver not loaded)
 * FAKE_NVML_POOR   set: a device that supports neither rates, memory nor processes (a MIG parent)
 * FAKE_NVML_PID    a process that computes on device 0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUCCESS 0
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define INSUFFICIENT_SIZE 7

typedef int nvmlReturn_t;
typedef struct device { unsigned index; } *nvmlDevice_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct {
    unsigned pid;
    unsigned long long usedGpuMemory;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t;

static struct device devices[16];

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static int poor(void) { return getenv("FAKE_NVML_POOR") != NULL; }

nvmlReturn_t nvmlInitWithFlags(unsigned flags) { return (nvmlReturn_t)setting("FAKE_NVML_ERROR", SUCCESS); }
nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(nvmlReturn_t result) {
    return result == 9 ? "Driver Not Loaded" : result == NOT_SUPPORTED ? "Not Supported" : "Error";
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)setting("FAKE_NVML_GPUS", 1);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    if (index >= (unsigned)setting("FAKE_NVML_GPUS", 1)) return INVALID_ARGUMENT;
    devices[index].index = index;
    *device = &devices[index];
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-00000000-0000-0000-0000-%012u", device->index);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length) {
    snprintf(name, length, "NVIDIA Test %u", device->index);
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    if (poor()) return NOT_SUPPORTED;
    memory->total = 80ULL << 30;
    memory->used = (unsigned long long)(device->index + 1) << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
    if (poor()) return NOT_SUPPORTED;
    rates->gpu = 50 + device->index;
    rates->memory = 10;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(
    nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *infos) {
    long pid = setting("FAKE_NVML_PID", 0);
    unsigned there = pid && device->index == 0;
    if (poor()) return NOT_SUPPORTED;
    if (*count < there) {
        *count = there;
        return INSUFFICIENT_SIZE;
    }
    if (there) {
        memset(infos, 0, sizeof *infos);
        infos->pid = (unsigned)pid;
    }
    *count = there;
    return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(
    nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *infos) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, count, infos);
}
