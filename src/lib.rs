//! keyfence: an Envoy filter that lets an API key be used only from where it may be used.
