CREATE INDEX "{{ plural }}_by_status" ON "{{ plural }}" (status, id);
