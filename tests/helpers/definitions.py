"""The action definitions that the acceptance tests' plans use, and the token of one of them."""

DEFINITIONS = """
- id: echo
  endpoint: {{url: "{url}/echo/{{name}}", method: GET}}
- id: hold
  endpoint: {{url: "{url}/hold/{{name}}", method: GET}}
- id: post
  endpoint: {{url: "{url}/echo/{{name}}", method: POST}}
- id: status
  endpoint: {{url: "{url}/status/{{code}}/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 2, initialDelayMs: 20, maxDelayMs: 50, backoffMultiplier: 2}}
- id: flaky
  endpoint: {{url: "{url}/flaky/{{failures}}/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 4, initialDelayMs: 20, maxDelayMs: 50, backoffMultiplier: 2}}
- id: stubborn
  endpoint: {{url: "{url}/flaky/{{failures}}/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 19, initialDelayMs: 0, maxDelayMs: 0, backoffMultiplier: 1}}
- id: patient
  endpoint: {{url: "{url}/later/2/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 2, initialDelayMs: 0, maxDelayMs: 0, backoffMultiplier: 1}}
- id: very_patient
  endpoint: {{url: "{url}/unavailable/{{name}}", method: GET}}
  retryPolicy: {{maxAttempts: 2, initialDelayMs: 0, maxDelayMs: 0, backoffMultiplier: 1}}
- id: text
  endpoint: {{url: "{url}/text/{{name}}", method: GET}}
- id: bytes
  endpoint: {{url: "{url}/bytes/{{size}}/{{name}}", method: GET}}
- id: items
  endpoint: {{url: "{url}/items/{{count}}/{{name}}", method: GET}}
- id: secret
  endpoint: {{url: "{url}/echo/{{name}}", method: POST}}
  authentication: {{type: bearer, token: "${{env.TEST_API_TOKEN}}"}}
"""

API_TOKEN = "s3cr3t-t0ken-of-the-tests"
