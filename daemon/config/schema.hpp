// The published documents that describe the config, made from the table of keys.
// config/smarmd.schema.json and the rows of config/README.md hold these texts; a test compares
// them.
#pragma once

#include "daemon/config/keys.hpp"

#include <string>

namespace smarmd::configuration {

// JSON Schema 2020-12 of a config file and of a fragment.
nlohmann::ordered_json schema();
std::string schema_text();  // as the file holds it, newline included

// "| `/runtime/threads` | integer | 0 to 1024 | `0` | restart | ... | `4` |"
std::string documentation_row(const Key& key);
std::string documentation_table();  // heading and all rows

}  // namespace smarmd::configuration
