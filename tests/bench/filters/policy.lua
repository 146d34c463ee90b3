-- The policy with one key as a script, for those who would write one.

local keys = {
  ["ak_bench_00000000000000000000000"] = {
    id = "key-0",
    origins = { ["https://app0.example"] = true, ["http://localhost:3000"] = true },
    suffix = ".app0.example",
    network = "127.",
  },
}

local security_headers = {
  { "strict-transport-security", "max-age=31536000; includeSubDomains; preload" },
  { "x-content-type-options", "nosniff" },
  { "x-frame-options", "DENY" },
  { "x-xss-protection", "1; mode=block" },
  { "referrer-policy", "strict-origin-when-cross-origin" },
  { "content-security-policy", "default-src 'self'" },
}

local function listed(key, origin)
  return origin ~= nil and (key.origins[origin] or origin:sub(-#key.suffix) == key.suffix)
end

local function deny(handle, status, code)
  handle:respond({ [":status"] = status, ["content-type"] = "application/problem+json" }, '{"code":"' .. code .. '"}')
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local key = keys[headers:get("x-api-key")]
  if key == nil then
    return deny(handle, "401", "invalid_api_key")
  end
  local address = handle:streamInfo():downstreamRemoteAddress()
  if address:sub(1, #key.network) ~= key.network then
    return deny(handle, "403", "ip_not_allowed")
  end
  local origin = headers:get("origin")
  if not listed(key, origin) then
    return deny(handle, "403", "origin_not_allowed")
  end
  headers:replace("x-key-id", key.id)
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("envoy.filters.http.lua", "key_id", key.id)
  metadata:set("envoy.filters.http.lua", "origin", origin)
end

function envoy_on_response(handle)
  local metadata = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.lua")
  local headers = handle:headers()
  if metadata ~= nil and metadata["origin"] ~= nil then
    headers:replace("access-control-allow-origin", metadata["origin"])
    headers:replace("access-control-allow-credentials", "true")
    headers:replace("access-control-expose-headers", "X-Request-Id, X-RateLimit-Remaining, X-RateLimit-Reset")
  end
  headers:replace("vary", "Origin, X-API-Key")
  for _, header in ipairs(security_headers) do
    headers:replace(header[1], header[2])
  end
end
